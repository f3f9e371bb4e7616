"""Steps that want the last place of an agent at the same moment, on PostgreSQL."""

from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select

from models.database import Database
from models.queries import routing as queries
from models.step import Attempt, Step
from orchestrator.bridge import Dispatch
from orchestrator.services import unserved, waking
from tests.services.test_races import at_once
from tests.support import attempts
from tests.support.desk import Office, answers, office, step
from tests.support.probes import NAME
from tests.support.soundness import assert_sound

pytestmark = pytest.mark.timeout(120)
ON_POSTGRESQL = pytest.mark.parametrize(
    "database_kind", [pytest.param("postgresql", marks=pytest.mark.postgres)]
)
THREADS = 8
PLACES = 3


def goes_on(request: Dispatch) -> None:
    """The agent takes its time."""
    return


def at_work(ours: Office) -> int:
    with ours.engine.deps.db.read() as session:
        held = select(func.count()).select_from(Step).where(Step.agent_id.is_not(None))
        return int(session.execute(held.where(Step.status.in_(("running", "waiting")))).scalar_one())


def carrying(ours: Office) -> list[Any]:
    """What carries each message in the inbox."""
    messages, ours.engine.inbox = ours.engine.inbox, []
    return [lambda message=message: ours.engine.carrier.carry(message) for message, _ in messages]


@ON_POSTGRESQL
@pytest.mark.parametrize("limit", [{"max_concurrent": PLACES}, {"rate_limit": PLACES}])
@pytest.mark.parametrize("wanted", [{"agent": "ada"}, {"role": "judge"}])
def test_a_limit_holds_for_steps_at_the_same_moment(
    database: Database, limit: dict[str, int], wanted: dict[str, str]
) -> None:
    ours = office(database, step(**wanted), does=goes_on)
    ours.agent("ada", ours.gateway(), role="judge", **limit)
    ids = [ours.engine.start(NAME) for _ in range(THREADS)]
    assert at_once(carrying(ours)) == []
    assert len(ours.desk.runs) == PLACES
    assert at_work(ours) == PLACES
    for run_id in ids:
        if f"{run_id}:a:1" in ours.desk.runs:
            ours.engine.send(waking.settle(ours.engine.deps, run_id, 0, 1, answers("x")))
    assert_sound(ours.engine.deps)


@ON_POSTGRESQL
def test_a_place_is_given_once_however_many_ends_release_it(database: Database) -> None:
    ours = office(database, step(), does=goes_on)
    ours.agent("ada", ours.gateway(), max_concurrent=PLACES)
    ids = [ours.engine.run(NAME) for _ in range(4 * PLACES)]
    most = 0

    def releases() -> None:
        ours.engine.send(unserved.release(ours.engine.deps, ours.engine.actor.workspace_id))

    while ours.desk.runs:
        going = [run_id for run_id in ids if f"{run_id}:a:1" in ours.desk.runs]
        most = max(most, len(going))
        ours.desk.runs.clear()
        ends = [
            lambda run_id=run_id: ours.engine.send(
                waking.settle(ours.engine.deps, run_id, 0, 1, answers("x"))
            )
            for run_id in going
        ]
        assert at_once([*ends, releases, releases]) == []
        ours.sweep()
        assert at_work(ours) <= PLACES
    assert most == PLACES
    assert all(ours.engine.row(run_id).status == "success" for run_id in ids)
    assert_sound(ours.engine.deps)


@ON_POSTGRESQL
def test_a_session_gets_one_agent_from_steps_at_the_same_moment(database: Database) -> None:
    nodes = [step(f"s{n}", role="judge", session=f"{{{{inputs.s{n}}}}}") for n in range(4)]
    ours = office(database, *nodes, does=lambda _: answers("x"))
    gateway_id = ours.gateway()
    for name in ("ann", "ben", "cid"):
        ours.agent(name, gateway_id, role="judge")
    run_id = ours.engine.start(NAME, inputs={f"s{n}": "review" for n in range(4)})
    assert at_once(carrying(ours)) == []
    with ours.engine.deps.db.read() as session:
        agents = set(session.scalars(select(Attempt.agent_id).where(Attempt.run_id == run_id)))
        assert agents == {queries.sticky(session, run_id, "review")}
    ours.engine.drain()
    assert ours.engine.row(run_id).status == "success"
    assert_sound(ours.engine.deps)


@ON_POSTGRESQL
def test_a_resume_that_comes_twice_sends_once(database: Database) -> None:
    for _ in range(10):
        ours = office(database, does=lambda _: answers("x"))
        run_id = ours.engine.run(NAME)
        ours.gateway(is_default=True)
        ours.engine.send(unserved.release(ours.engine.deps, ours.engine.actor.workspace_id))
        (message,) = ours.engine.resumes
        ours.engine.resumes.clear()
        assert at_once([partial(ours.engine.carrier.resume, message)] * 4) == []
        assert len(ours.desk.patience) == 1
        assert attempts.told(ours.engine, run_id).count("step.resumed") == 1
        assert ours.engine.row(run_id).status == "success"
    assert_sound(ours.engine.deps)
