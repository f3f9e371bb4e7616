"""Fixtures: migrated databases of both kinds, own to the test session, empty for each test."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models import (
    agent,
    approval,
    audit,
    compensation,
    event,
    gateway,
    hook,
    operation,
    outbox,
    price,
    retention,
    run,
    schedule,
    signal,
    slots,
    step,
    webhook,
    workflow,
    workspace,
)
from models import schema as schema_of_models
from models.base import Base
from models.database import Database
from tests.support import postgresql
from tests.support.postgresql import PostgresServer

TABLES = (
    *(agent, approval, audit, compensation, event, gateway, hook, operation, outbox, price, retention, run),
    *(schedule, signal, slots, step, webhook, workflow, workspace),
)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[PostgresServer]:
    """A real PostgreSQL; the test is skipped (in CI: fails) where there is none."""
    with postgresql.server(tmp_path_factory.mktemp("postgresql"), worker_id) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> Iterator[str]:
    """URL of a migrated, empty database that others are copied from; nobody stays connected to it."""
    url = postgres_server.create()
    schema_of_models.upgrade(url)
    yield url
    postgres_server.drop(url)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    schema_of_models.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def shared_postgres(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Database]:
    """The one database that the session's tests share in turn; a few connections stay open between them.

    Few, for a server has a hundred, and each of the processes that test at the same time has its own.
    """
    url = postgres_server.create(postgres_template)
    database = Database(url, pool_size=4)
    yield database
    database.close()
    postgres_server.drop(url)


@pytest.fixture(scope="session")
def shared_sqlite(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The same of SQLite: what SQLAlchemy has compiled is kept with it."""
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('shared')}/orchestrator.db")
    yield database
    database.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Both kinds in turn; `parametrize("database_kind", ["sqlite"])` keeps a test to one."""
    kind: str = request.param
    return kind


@pytest.fixture
def emptied_postgres(shared_postgres: Database) -> Iterator[Database]:
    """The shared database for one test, without a row before and after it."""
    yield shared_postgres
    _empty(shared_postgres)


@pytest.fixture
def database(database_kind: str, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A migrated database without a row."""
    if database_kind == "postgresql":
        yield request.getfixturevalue("emptied_postgres")
        return
    own: Database = request.getfixturevalue("shared_sqlite")
    _replace(Path(own.url.database or ""), request.getfixturevalue("sqlite_template"))
    own.engine.dispose()  # a thread that the test before has left behind may have opened the file that was there
    yield own


@pytest.fixture
def database_url(database: Database) -> str:
    """The URL of `database`, for other processes."""
    return database.url.render_as_string(hide_password=False)


@pytest.fixture
def new_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., str]]:
    """`new_database(kind, migrated=True) -> url`: one that the test alone has, dropped after it, whatever is
    still connected. For tests that kill processes, change the schema, or must start without one."""
    made: list[str] = []

    def new(kind: str, *, migrated: bool = True) -> str:
        if kind == "sqlite":
            path = tmp_path_factory.mktemp("database") / "orchestrator.db"
            if migrated:
                shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
            return f"sqlite:///{path}"
        template = request.getfixturevalue("postgres_template") if migrated else None
        made.append(request.getfixturevalue("postgres_server").create(template))
        return made[-1]

    yield new
    for url in made:
        request.getfixturevalue("postgres_server").drop(url)


def _replace(path: Path, template: Path) -> None:
    """A file of its own by the same name: a process that a test has left behind keeps the one that it knows."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    shutil.copyfile(template, path)


_KEPT = ("audit", "audit_seal")  # append-only: their trigger has to be switched off


def _empty(database: Database) -> None:
    # Runs go before their events, which the trigger would keep otherwise.
    names = [table.name for table in reversed(Base.metadata.sorted_tables) if table.name not in (*_KEPT, "event")]
    statements = ";".join(f'DELETE FROM "{name}"' for name in [*names, "event"])
    with database.engine.begin() as connection:
        for name in _KEPT:
            if connection.exec_driver_sql(f"SELECT EXISTS (SELECT FROM {name})").scalar():
                statements += (
                    f";ALTER TABLE {name} DISABLE TRIGGER {name}_refuse_row;DELETE FROM {name}"
                    f";ALTER TABLE {name} ENABLE ALWAYS TRIGGER {name}_refuse_row"
                )
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '5s';{statements}")
