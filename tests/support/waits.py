"""Steps that wait for an agent that takes its time."""

from typing import Any

from models.database import Database
from orchestrator.bridge import Dispatch
from orchestrator.services import waking
from tests.support import attempts
from tests.support.desk import Office, answers, office


def goes_on(request: Dispatch) -> None:
    """The agent takes its time."""
    return


def waits_for(ours: Office, run_id: str, path: str = "a") -> str:
    row = attempts.step(ours.engine, run_id, path)
    assert row.status == "waiting", row.status
    return str(row.waiting_for)


def ends_of(ours: Office, run_id: str, path: str = "a", attempt: int = 1) -> None:
    no = attempts.step(ours.engine, run_id, path).no
    ours.engine.send(waking.settle(ours.engine.deps, run_id, no, attempt, answers("done")))
    ours.engine.drain()


def busy(database: Database, *nodes: dict[str, Any], limit: int = 1, **fields: Any) -> Office:
    ours = office(database, *nodes, does=goes_on, **fields)
    ours.agent("ada", ours.gateway(), max_concurrent=limit, role="judge")
    return ours
