"""What the sweep of schedules asks is found by its indexes however much there is."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.orm import Session

from models.base import uuid7
from models.database import Database
from models.queries import backfills, fires, schedules
from models.schedule import Schedule, ScheduleBackfill, ScheduleFire
from tests.support import engine

NOW = datetime(2026, 1, 31, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
OF = {
    "due": ({"ix_schedule_due_at"}, lambda session, _: schedules.due(session, NOW, 500)),
    "waiting": ({"ix_schedule_fire_queued"}, lambda session, _: fires.waiting(session, 500)),
    "open": ({"ix_schedule_backfill_open"}, lambda session, _: backfills.open_(session, 500)),
    "live": ({"ix_schedule_fire_live"}, lambda session, row: fires.live_runs(session, row)),
    "settle": ({"ix_schedule_fire_live"}, lambda session, row: fires.settle(session, row)),
    "queued": ({"ix_schedule_fire_queued"}, lambda session, row: fires.next_queued(session, row, None)),
    "filling": ({"ix_schedule_fire_live"}, lambda session, row: fires.filling(session, row, row)),
    "next of a backfill": (
        {"ix_schedule_fire_backfill_id_outcome_fire_at"},
        lambda session, row: fires.next_queued(session, row, row),
    ),
    "page": (
        {"ix_schedule_fire_schedule_id_fire_at_id"},
        lambda session, row: fires.page(session, row, before=(NOW, row), limit=50),
    ),
    "past": (
        {"ix_schedule_fire_schedule_id_fire_at_id", "uq_schedule_fire_of_plan"},
        lambda session, row: fires.any_past(session, row, NOW.timestamp()),
    ),
    "known": (
        {"uq_schedule_fire_of_plan", "ix_schedule_fire_schedule_id_fire_at_id"},
        lambda session, row: fires.is_known(session, row, NOW),
    ),
}


@pytest.fixture
def filled(new_database: Callable[[str], str]) -> Any:
    """500 schedules, 20,000 fires of two of them, a few live and queued; the id of the larger one."""
    database = Database(new_database("postgresql"))
    ours = engine.make(database)
    ours.publish({"name": "w", "nodes": [{"id": "a", "type": "noop"}]})
    workflow_id = ours.row(ours.start("w")).workflow_id
    common = {
        "workspace_id": ours.actor.workspace_id, "workflow_id": workflow_id, "cron": "@daily", "timezone": "UTC",
        "anchor_at": NOW, "inputs": {}, "variables": {}, "labels": {}, "priority": 0, "overlap": "skip",
        "catch_up": 0, "jitter": 0, "created_at": NOW, "updated_at": NOW,
    }  # fmt: skip
    ids = [uuid7() for _ in range(500)]
    rows = [
        {"id": uuid7(), "schedule_id": ids[n % 2], "fire_at": NOW + MINUTE * n, "kind": "planned", "created_at": NOW}
        | {"outcome": "queued" if n % 500 == 0 else "started", "live": n % 400 == 1, "run_id": uuid7()}
        | {"backfill_id": ids[n % 50]}
        for n in range(20_000)
    ]
    backfill = {"from_at": NOW, "to_at": NOW, "max_parallel": 1, "total": 1, "created_at": NOW}
    with database.transaction() as session:
        session.execute(
            insert(Schedule),
            [common | {"id": each, "name": each, "due_at": NOW + MINUTE * n} for n, each in enumerate(ids)],
        )
        session.execute(insert(ScheduleFire), rows)
        session.execute(
            insert(ScheduleBackfill),
            [backfill | {"id": each, "schedule_id": each, "finished_at": NOW} for each in ids],
        )
    with database.single() as session:
        session.execute(text("ANALYZE schedule, schedule_fire, schedule_backfill, run"))
    yield database, ids[0]
    database.close()


@pytest.mark.postgres
@pytest.mark.parametrize("asked", OF)
def test_it_is_found_by_an_index(filled: tuple[Database, str], asked: str) -> None:
    database, schedule_id = filled
    indexes, ask = OF[asked]
    with database.transaction() as session:
        plan = explained(session, lambda: ask(session, schedule_id))
    assert "Seq Scan" not in plan, plan
    assert any(index in plan for index in indexes), plan


@pytest.mark.parametrize("asked", ["live", "settle", "filling", "waiting", "open"])
def test_on_sqlite_the_live_ones_are_found_among_all_fires(new_database: Callable[[str], str], asked: str) -> None:
    database = Database(new_database("sqlite"))
    engine.make(database)
    with database.transaction() as session:
        plan = explained(session, lambda: OF[asked][1](session, uuid7()))
    database.close()
    assert "ix_schedule_fire_live" in plan, plan


def explained(session: Session, ask: Callable[[], object]) -> str:
    """The plan of the one statement that `ask` executes."""
    said: list[tuple[str, Any]] = []
    connection = session.connection()

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        said.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    ask()
    event.remove(connection, "before_cursor_execute", note)
    ((statement, parameters),) = said
    explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    cursor: Any = connection.connection.cursor()
    cursor.execute(f"{explain} {statement}", parameters)
    return "\n".join(line[-1] for line in cursor.fetchall())
