"""The database's schema: bring it to this release's revision, and say which one it is at."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from models.database import Database
from models.errors import ConflictError

# Two processes that upgrade at once take turns by this key; no other advisory lock of ours has it.
_LOCK_KEY = 0x6F726368
_TURN = 0.2  # seconds between two tries to get it


def upgrade(url: str) -> None:
    """Apply the migrations that are missing; safe in any number of processes at once.

    Raises ConflictError when the database was migrated by a newer release, SettingsError for a bad URL.
    """
    with _exclusive(url) as connection:
        command.upgrade(_config(connection), "head")


def current(url: str) -> str | None:
    """The revision that a database is at; None before the first upgrade."""
    database = Database(url, pool_size=1)
    try:
        with database.engine.connect() as connection:
            return _revision(connection)
    finally:
        database.close()


def head() -> str:
    """This release's newest revision."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    assert found is not None
    return found


def ours(_object: Any, name: str | None, type_: str, _reflected: bool, _compare_to: Any) -> bool:
    """Alembic's `include_object`: Celery's result tables may share our database and are not compared."""
    return type_ != "table" or not str(name).startswith(("celery_", "kombu_"))


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes.update(connection=connection, include_object=ours)
    return config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_newer(connection: Connection) -> None:
    found = _revision(connection)
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is not None and found not in known:
        raise ConflictError(
            f"the database is at revision {found}, this release knows none newer than {head()}: "
            "run the release that migrated it, or a newer one"
        )


@contextmanager
def _exclusive(url: str) -> Iterator[Connection]:
    """A connection that no other upgrade of the same database has at the same time.

    SQLite: everything in one write transaction. PostgreSQL: a session lock, so that a migration may end its
    transaction (`CREATE INDEX CONCURRENTLY`, which waits for every transaction that is open: those who wait for
    the lock have none meanwhile); the wait for it has no end, that for a table's lock 2 s.
    """
    database = Database(url, pool_size=1)
    try:
        if database.is_sqlite:
            engine = database.engine.execution_options(orchestrator_begin="BEGIN IMMEDIATE")
            with engine.begin() as connection:
                _refuse_newer(connection)
                yield connection
        else:
            with database.engine.connect() as connection:
                connection.execute(text("SET lock_timeout = '2s'; SET statement_timeout = 0"))
                connection.commit()
                while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK_KEY}):
                    connection.rollback()
                    time.sleep(_TURN)
                _refuse_newer(connection)
                connection.commit()
                yield connection
    finally:
        database.close()  # the session ends, and its lock with it
