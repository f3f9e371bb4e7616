"""What all seeds of one process share: a database that goes back to its beginning, the services' parts."""

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from typing import Any

from sqlalchemy.orm import Session

from models import schema
from models.database import Database
from orchestrator.services.deps import Deps
from orchestrator.settings import Settings
from tests.support import engine
from tests.support.engine import Engine

LEASE = 4.0
START = 1_700_000_000.0


class Killed(BaseException):
    """The process ends here, as `kill -9` ends it: nothing of ours catches this."""


class MortalDatabase(Database):
    """A database in memory; a process may die before or after each of its commits."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__("sqlite://", clock=clock)
        self.fate: Callable[[str], None] = lambda place: None
        self.writing = False

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        with super().transaction() as session:
            self.writing = True
            try:
                yield session
                self.fate("before commit")
            finally:
                self.writing = False
        self.fate("after commit")

    def copy_to(self, other: sqlite3.Connection) -> None:
        """Its pages into another database."""
        self._driver().backup(other)

    def copy_from(self, other: sqlite3.Connection) -> None:
        """Become what the other one is."""
        other.backup(self._driver())

    def _driver(self) -> sqlite3.Connection:
        with self.engine.connect() as connection:
            found: Any = connection.connection.driver_connection
        driver: sqlite3.Connection = found
        return driver


class Ground:
    """Time, the database and the parts. `reset` puts them back for the next seed."""

    def __init__(self) -> None:
        self.now = START
        self.database = MortalDatabase(lambda: self.now)
        with tempfile.TemporaryDirectory() as directory:
            schema.upgrade(f"sqlite:///{directory}/template.db")
            with closing(sqlite3.connect(f"{directory}/template.db")) as migrated:
                self.database.copy_from(migrated)
        settings = Settings(lease_seconds=LEASE, result_backend="redis://127.0.0.1/0")
        self._engine = engine.make(self.database, clock=lambda: self.now, settings=settings)
        self._beginning = sqlite3.connect(":memory:", check_same_thread=False)
        self.database.copy_to(self._beginning)

    @property
    def deps(self) -> Deps:
        return self._engine.deps

    def reset(self) -> Engine:
        """An engine on an empty database, at the beginning of time."""
        self.now = START
        self.database.fate = lambda place: None
        self.database.copy_from(self._beginning)
        return Engine(deps=self._engine.deps, actor=self._engine.actor)


@cache
def ground() -> Ground:
    """This process's."""
    return Ground()
