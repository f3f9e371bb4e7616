"""A run ends in success by one statement only where nothing of it failed, is being stopped or undone."""

from typing import Any

import pytest
from sqlalchemy import update

from models.database import Database
from models.queries import runs
from models.run import Run
from tests.support import engine
from tests.support.attempts import told

ERROR = {"code": "TOOL_FAILED", "message": "it broke", "step": "a", "details": None}


@pytest.mark.parametrize(
    ("standing", "ends"),
    [
        ({"status": "running"}, True),
        ({"status": "paused"}, True),
        ({"status": "pending"}, False),
        ({"status": "compensating"}, False),
        ({"status": "success"}, False),
        ({"status": "aborted"}, False),
        ({"stopping": "aborted"}, False),
        ({"error": ERROR}, False),
    ],
)
def test_only_a_sound_run_succeeds(database: Database, standing: dict[str, Any], ends: bool) -> None:
    made = engine.make(database)
    made.publish({"name": "one", "nodes": [{"id": "a", "type": "nothing"}]})
    run_id = made.start("one")
    with database.transaction() as session:
        session.execute(update(Run).where(Run.id == run_id).values(**standing))
    before = told(made, run_id)
    with database.transaction() as session:
        assert runs.succeed(session, run_id, "run.completed", {"n": 1}) is ends
    row = made.row(run_id)
    assert told(made, run_id) == [*before, *(["run.completed"] if ends else [])]
    assert row.seq == len(before) + ends
    assert row.status == ("success" if ends else standing.get("status", "running"))
    assert (row.finished_at is not None) is ends
    assert made.data(run_id).outputs == ({"n": 1} if ends else None)
