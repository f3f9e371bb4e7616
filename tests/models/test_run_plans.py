"""The plans of the statements that begin, move and end a run go through keys, whatever the statistics say."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from models.database import Database
from models.queries.prepared import Prepared
from models.queries.runs_postgresql import INFO, LOCK, MOVE, NOTE
from models.queries.workflows import RUNNABLE
from tests.support import engine

pytestmark = pytest.mark.postgres
STATEMENTS: dict[str, tuple[Prepared, tuple[Any, ...], set[str]]] = {
    "info": (INFO, (), {"pk_run", "pk_run_data", "pk_workflow"}),
    "lock": (LOCK, (None,), {"pk_run"}),
    "move": (
        MOVE,
        ("success", ["running"], True, "run.completed", None, "{}", None, "1", True),
        {"pk_run", "pk_run_data"},
    ),
    "note": (NOTE, ("own.event", None, None, "{}"), {"pk_run"}),
    "runnable": (
        RUNNABLE,
        ("many7", None, None),
        {"uq_workflow_workspace_id_name", "ix_workflow_workspace_id_id", "uq_workflow_version_workflow_id_number"},
    ),
}


def _plan(database: Database, prepared: Prepared, given: tuple[Any, ...]) -> str:
    with database.transaction() as session:
        prepared.rows(session, given)
        connection: Any = session.connection().connection
        with connection.cursor() as cursor:
            cursor.execute(
                f"EXPLAIN EXECUTE {prepared.name} ({', '.join(['%s'] * len(prepared.types))})", given
            )
            return "\n".join(line for (line,) in cursor.fetchall())


@pytest.mark.parametrize("many", [1, 100], ids=["fresh", "analyzed"])
def test_every_row_is_reached_by_its_key(new_database: Callable[[str], str], many: int) -> None:
    database = Database(new_database("postgresql"))
    made = engine.make(database)
    for place in range(many):
        made.publish({"name": f"many{place}", "nodes": [{"id": "a", "type": "noop"}]})
        run_id = made.start(f"many{place}")
    if many > 1:
        with database.single() as session:
            session.execute(text("ANALYZE workflow, workflow_version, run, run_data, event"))
    for prepared, given, expected in STATEMENTS.values():
        of = made.actor.workspace_id if prepared is RUNNABLE else run_id
        plan = _plan(database, prepared, (of, *given))
        assert "Seq Scan on" not in plan, plan
        assert "Bitmap" not in plan, plan
        if prepared is RUNNABLE and many == 1:
            continue  # two indexes look alike until the table was analyzed once, which has it planned anew
        used = {word.rstrip(")") for word in plan.split() if word.startswith(("pk_", "uq_", "ix_"))}
        assert used == expected, plan
    database.close()
