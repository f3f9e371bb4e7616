"""What is noted beside an attempt's outcome: a gateway's health, its word without its tokens."""

import pytest
from sqlalchemy.exc import OperationalError

from models.database import Database
from models.errors import ErrorCode
from models.gateway import Gateway
from orchestrator.bridge import Dispatch, Endpoint, Unsent
from orchestrator.core.outcome import Failed, StepError
from orchestrator.services import gateways, vault
from tests.support import attempts
from tests.support.desk import SETTINGS, Desk, office
from tests.support.probes import NAME, ends

TOKEN = "s3cret-token-0001"


class Refusing(Desk):
    """A driver that repeats the token to whoever reads."""

    def dispatch(self, endpoint: Endpoint, request: Dispatch) -> Unsent:
        return Unsent(reason=f"503: you sent Authorization: Bearer {endpoint.token}")


class Failing(Desk):
    """A driver whose gateway fails, and repeats the token."""

    def dispatch(self, endpoint: Endpoint, request: Dispatch) -> Failed:
        details = {"sent": endpoint.token}
        return Failed(error=StepError.of(ErrorCode.TOOL_FAILED, f"refused {endpoint.token}", details=details))


@pytest.mark.parametrize("problem", [OperationalError("x", {}, Exception("away")), RuntimeError("a defect")])
def test_an_outcome_outlives_what_could_not_be_noted(
    database: Database, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    ours = office(database)
    ours.agent("ada", ours.gateway(status="unknown"))

    def broken(*_: object) -> None:
        raise problem

    monkeypatch.setattr(gateways, "well", broken)
    ends(ours.engine, ours.engine.run(NAME), "success")


def test_a_token_that_comes_back_is_masked_where_a_step_waits(database: Database) -> None:
    ours = office(database)
    ours.agent("ada", ours.gateway(token=vault.seal(SETTINGS, TOKEN)))
    ours.engine.deps.gateways["desk"] = Refusing()
    run_id = ours.engine.run(NAME)
    row = attempts.step(ours.engine, run_id, "a")
    assert "Bearer ***" in row.waiting_for
    assert row.lane is None  # it comes again by itself, later and later
    assert row.due_at is not None
    with ours.engine.deps.db.read() as session:
        assert TOKEN not in session.query(Gateway).one().error


def test_a_token_that_comes_back_is_masked_where_a_step_fails(database: Database) -> None:
    ours = office(database)
    ours.agent("ada", ours.gateway(token=vault.seal(SETTINGS, TOKEN)))
    ours.engine.deps.gateways["desk"] = Failing()
    run_id = ours.engine.run(NAME)
    error = attempts.attempts(ours.engine, run_id, "a")[0].error
    assert (error["message"], error["details"]) == ("refused ***", {"sent": "***"})
