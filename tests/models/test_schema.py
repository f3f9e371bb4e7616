"""The migrated schema is the models' schema, on both databases, however many processes migrate at once."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from models import schema
from models.base import Base, uuid7
from models.database import Database
from models.errors import ConflictError
from tests.support.programs import ROOT

RUN, GONE = uuid7(), uuid7()
REFUSED = "run events are append-only"


@pytest.fixture
def connection(database: Database) -> Connection:
    """A transaction with a run and two events: one of the run, one of a run that is gone."""
    with database.engine.connect() as connection:
        at = "1700000000.0" if database.is_sqlite else "'2023-11-14T22:13:20Z'"
        columns = "id, name, created_at"
        connection.execute(text(f"INSERT INTO workspace ({columns}) VALUES ('{RUN}', 'w', {at})"))
        connection.execute(
            text(
                "INSERT INTO workflow (id, workspace_id, name, current_version, created_at, updated_at)"
                f" VALUES ('{RUN}', '{RUN}', 'f', 1, {at}, {at})"
            )
        )
        connection.execute(
            text(
                "INSERT INTO workflow_version (id, workflow_id, number, digest, definition, plan, classification,"
                " estimated_cost_cents, estimate_is_lower_bound, created_at)"
                f" VALUES ('{RUN}', '{RUN}', 1, 'd', '{{}}', '{{}}', '{{}}', 0, false, {at})"
            )
        )
        connection.execute(
            text(
                "INSERT INTO run (id, workspace_id, workflow_id, version_id, status, seq, open_steps, priority,"
                " has_budget, cost_microcents, created_at)"
                f" VALUES ('{RUN}', '{RUN}', '{RUN}', '{RUN}', 'running', 1, 0, 0, false, 0, {at})"
            )
        )
        for run in (RUN, GONE):
            connection.execute(
                text(
                    "INSERT INTO event (run_id, seq, type, at, data)"
                    f" VALUES ('{run}', 1, 'run.created', {at}, '{{}}')"
                )
            )
        yield connection
        connection.rollback()


def test_models_and_migrations_agree(database: Database) -> None:
    options = {"compare_type": True, "compare_server_default": True, "include_object": schema.ours}
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_tables_of_celery_are_not_compared(database_kind: str, new_database: Callable[..., str]) -> None:
    database = Database(new_database(database_kind))
    with database.engine.begin() as connection:
        connection.execute(text("CREATE TABLE celery_taskmeta (id INTEGER)"))
        connection.execute(text("CREATE TABLE foreign_table (id INTEGER)"))
        context = MigrationContext.configure(connection, opts={"include_object": schema.ours})
        found = compare_metadata(context, Base.metadata)
    database.close()
    assert [(change[0], change[1].name) for change in found] == [("remove_table", "foreign_table")]


def test_current_and_head(database_kind: str, new_database: Callable[..., str]) -> None:
    url = new_database(database_kind, migrated=False)
    assert schema.current(url) is None
    schema.upgrade(url)
    schema.upgrade(url)
    assert schema.current(url) == schema.head()


def test_processes_that_upgrade_at_once_take_turns(
    database_kind: str, new_database: Callable[..., str]
) -> None:
    url = new_database(database_kind, migrated=False)
    program = f"from models import schema; schema.upgrade({url!r})"
    upgrades = [
        subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [(upgrade.communicate()[1], upgrade.returncode) for upgrade in upgrades] == [("", 0)] * 4
    assert schema.current(url) == schema.head()


def test_a_newer_schema_is_refused(database_kind: str, new_database: Callable[..., str]) -> None:
    url = new_database(database_kind)
    database = Database(url)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'future'"))
    database.close()
    with pytest.raises(ConflictError, match=r"revision future.*run the release that migrated it"):
        schema.upgrade(url)


def test_events_cannot_be_changed(connection: Connection) -> None:
    with pytest.raises(IntegrityError, match=REFUSED):
        connection.execute(text(f"UPDATE event SET type = 'other' WHERE run_id = '{GONE}'"))


def test_events_of_a_run_cannot_be_deleted(connection: Connection) -> None:
    with pytest.raises(IntegrityError, match=REFUSED):
        connection.execute(text(f"DELETE FROM event WHERE run_id = '{RUN}'"))


def test_events_cannot_be_replaced(connection: Connection, database: Database) -> None:
    replaced = f"INTO event (run_id, seq, type, at, data) VALUES ('{RUN}', 1, 'other', "
    statement = (
        f"INSERT OR REPLACE {replaced} 1, '{{}}')"
        if database.is_sqlite
        else f"INSERT {replaced} now(), '{{}}') ON CONFLICT (run_id, seq) DO UPDATE SET type = 'other'"
    )
    with pytest.raises(IntegrityError, match=REFUSED):
        connection.execute(text(statement))


def test_events_leave_with_their_run(connection: Connection) -> None:
    assert connection.execute(text(f"DELETE FROM event WHERE run_id = '{GONE}'")).rowcount == 1
    connection.execute(text(f"DELETE FROM run WHERE id = '{RUN}'"))
    assert connection.execute(text(f"DELETE FROM event WHERE run_id = '{RUN}'")).rowcount == 1


@pytest.mark.parametrize("database_kind", ["postgresql"])
@pytest.mark.parametrize("cascade", ["", " CASCADE"])
def test_events_cannot_be_truncated(connection: Connection, cascade: str) -> None:
    with pytest.raises(IntegrityError, match=REFUSED):
        connection.execute(text("TRUNCATE event" + cascade))


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_replica_role_changes_no_event(connection: Connection) -> None:
    connection.execute(text("SET LOCAL session_replication_role = replica"))
    with pytest.raises(IntegrityError, match=REFUSED):
        connection.execute(text(f"DELETE FROM event WHERE run_id = '{RUN}'"))


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_temporary_table_does_not_stand_in_for_run(connection: Connection) -> None:
    connection.execute(text("CREATE TEMPORARY TABLE run (id uuid)"))
    with pytest.raises(IntegrityError, match=REFUSED):
        connection.execute(text(f"DELETE FROM event WHERE run_id = '{RUN}'"))


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_hot_tables_leave_room_on_their_pages(database: Database) -> None:
    query = "SELECT relname, reloptions FROM pg_class WHERE relkind = 'r' AND reloptions IS NOT NULL"
    with database.engine.connect() as connection:
        found = dict(connection.execute(text(query)).all())
    assert found == {
        "run": ["fillfactor=70"],
        "step": ["fillfactor=70"],
        "branch": ["fillfactor=70"],
        "attempt": ["fillfactor=80"],
    }


def test_indexes_of_the_sweeps_are_partial(database: Database) -> None:
    query = (
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql LIKE '% WHERE %'"
        if database.is_sqlite
        else "SELECT indexname, indexdef FROM pg_indexes WHERE indexdef LIKE '% WHERE %' AND schemaname = 'public'"
    )
    with database.engine.connect() as connection:
        found = {name for name, _ in connection.execute(text(query))}
    declared = {
        index.name
        for table in Base.metadata.tables.values()
        for index in table.indexes
        if index.dialect_options[database.engine.dialect.name]["where"] is not None
    }
    assert found == declared
    assert "ix_step_queued" in found
