"""The claim's own statement does what the whole statement does for such a round."""

from typing import Any

import pytest
from sqlalchemy import select, update

from models.database import Database
from models.event import Event
from models.moves import AttemptChange, AttemptResult, Move, Transition
from models.queries import claims_postgresql, transitions_postgresql
from models.run import Run
from models.states import StepStatus
from models.step import Attempt, Step
from tests.support import engine
from tests.support.engine import Engine

pytestmark = [pytest.mark.postgres, pytest.mark.parametrize("database_kind", ["postgresql"])]
TABLES: tuple[Any, ...] = (Run, Step, Attempt, Event)
IDS = ("xid", "id", "run_id")
TIMES = frozenset(
    f"{name}_at"
    for name in ("created", "started", "queued", "sent", "claimed", "begun", "finished", "timeout", "due")
) | {"at", "lease_until"}


def _claim(run_id: str, **changes: Any) -> Transition:
    move: dict[str, Any] = {
        "no": 0, "fence": 0, "sources": (StepStatus.QUEUED,), "to": StepStatus.RUNNING, "event": "step.started",
        "bump": 1, "lease": 10.0, "worker": "here:1", "change": AttemptChange.START,
        "result": AttemptResult(status="running", reserved=7),
    }  # fmt: skip
    return Transition(run_id=run_id, moves=(Move(**move | changes),), unless_stopping=True)


def _rows(made: Engine, run_id: str) -> list[dict[str, Any]]:
    """All that is stored of a run; of times, whether they are set."""
    found = []
    with made.deps.db.read() as session:
        for table in TABLES:
            key = table.id if table is Run else table.run_id
            for row in session.execute(select(table.__table__).where(key == run_id)):
                kept = {name: value for name, value in row._mapping.items() if name not in IDS}
                found.append({n: v is not None if n in TIMES else v for n, v in kept.items()})
    return found


@pytest.mark.parametrize(
    ("before", "changes"),
    [
        ({}, {}),
        ({}, {"timeout": 60.0}),
        ({}, {"fence": 1}),
        ({}, {"no": 1}),
        ({"step": {"status": "running"}}, {}),
        ({"step": {"attempt": 3, "tries": 2, "losses": 1, "waiting_for": "x", "live_in": "0"}}, {"fence": 3}),
        ({"run": {"status": "paused"}}, {}),
        ({"run": {"stopping": "aborted"}}, {}),
    ],
)
def test_both_statements_claim_alike(
    database: Database, before: dict[str, Any], changes: dict[str, Any]
) -> None:
    made = engine.make(database)
    made.publish({"name": "two", "nodes": [{"id": "a", "type": "nothing"}], "edges": []})
    given = []
    for apply in (claims_postgresql.apply, transitions_postgresql.whole):
        run_id = made.start("two")
        transition = _claim(run_id, **changes)
        assert claims_postgresql.fits(transition)
        with database.transaction() as session:
            session.execute(
                update(Step).where(Step.run_id == run_id).values(sends=1, **before.get("step", {}))
            )
            session.execute(update(Run).where(Run.id == run_id).values(priority=0, **before.get("run", {})))
        with database.transaction() as session:
            result = apply(session, transition)
        given.append((result, _rows(made, run_id)))
    assert given[0] == given[1]
