"""Engines and transactions on PostgreSQL and SQLite, behind one small class."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from models.errors import SettingsError

# One statement sets all: a frozen client must not hold a run's lock for longer than about half a lease, and
# the joins of the transition statement go through its index whatever the statistics say (docs/decisions/0003).
_POSTGRESQL_SESSION = (
    "SET lock_timeout = '30s'; SET statement_timeout = '60s';"
    "SET idle_in_transaction_session_timeout = '5s'; SET TIME ZONE 'UTC';"
    "SET plan_cache_mode = force_generic_plan; SET enable_hashjoin = off; SET enable_mergejoin = off;"
    "SET enable_material = off; SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off"
)

# A server that falls silent is noticed within seconds, not after the system's two hours: a process that
# cannot renew its leases must not wait for an answer meanwhile.
_POSTGRESQL_CONNECTION = {
    "connect_timeout": 5,
    "application_name": "orchestrator",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}

# recursive_triggers: without it INSERT OR REPLACE deletes a row past the triggers that keep events.
_SQLITE_SESSION = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "busy_timeout=30000",
    "foreign_keys=ON",
    "recursive_triggers=ON",
)


# What a statement raises when the database is away, overloaded or holds a lock for too long.
OUTAGES: tuple[type[Exception], ...] = (OperationalError, InterfaceError, PoolTimeout)
_DRIVER_OUTAGES = (psycopg2.OperationalError, psycopg2.InterfaceError, sqlite3.OperationalError)


def parse_url(text: str) -> URL:
    """The SQLAlchemy URL of a database setting; `postgresql://` and Celery's `db+…` forms mean psycopg2.

    Raises SettingsError for anything but PostgreSQL and SQLite.
    """
    try:
        url = make_url(text.removeprefix("db+"))
    except Exception as error:
        raise SettingsError(
            f"ORCHESTRATOR_DATABASE_URL is no URL: {error}. Write postgresql://user:password@host/name "
            "or sqlite:////absolute/path.db"
        ) from error
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg2"):
        return url.set(drivername="postgresql+psycopg2")
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        return url.set(drivername="sqlite")
    raise SettingsError(
        f"ORCHESTRATOR_DATABASE_URL names {url.drivername!r}; PostgreSQL and SQLite are supported: "
        "write postgresql://… or sqlite:///…"
    )


class Database:
    """One process's door to its database. Make it after a fork, never before.

    `clock` gives seconds since 1970 and stands for the database's own clock on SQLite (a fake one in tests);
    PostgreSQL always uses its own.
    """

    def __init__(self, url: str, *, pool_size: int = 10, clock: Callable[[], float] = time.time) -> None:
        parsed = parse_url(url)
        self.url = parsed
        self.is_sqlite = parsed.drivername == "sqlite"
        self._write_lock = threading.Lock()
        if self.is_sqlite:
            in_memory = parsed.database in (None, "", ":memory:")
            options: dict[str, Any] = {"connect_args": {"check_same_thread": False, "timeout": 30}}
            if in_memory:
                options["poolclass"] = StaticPool
            else:
                options.update(pool_size=pool_size, max_overflow=pool_size * 2)
            engine = create_engine(parsed, **options)
            event.listen(engine, "connect", _sqlite_connect(clock))
            event.listen(engine, "begin", _sqlite_begin)
        else:
            engine = _postgresql_engine(parsed, pool_size)
        self.engine = engine
        # A pool of its own: switching a connection to autocommit and back costs a round trip.
        self._autocommit = (
            engine if self.is_sqlite else _postgresql_engine(parsed, pool_size, isolation_level="AUTOCOMMIT")
        )
        self._writing = engine.execution_options(orchestrator_begin="BEGIN IMMEDIATE")

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A write transaction: committed at the end, rolled back on an exception.

        On SQLite one writer a process holds a lock before BEGIN IMMEDIATE: waiting threads queue here, in
        order, and not in SQLite's busy handler.
        """
        if self.is_sqlite:
            with self._write_lock, self._session(self._writing) as session, session.begin():
                yield session
        else:
            with self._session(self.engine) as session, session.begin():
                yield session

    @contextmanager
    def single(self) -> Iterator[Session]:
        """One statement that commits by itself: no lock is held while the answer travels.

        The caller must not need a second one. On SQLite it is an ordinary write transaction.
        """
        if self.is_sqlite:
            with self.transaction() as session:
                yield session
        else:
            with self._session(self._autocommit) as session:
                yield session

    @contextmanager
    def glance(self) -> Iterator[Session]:
        """One read outside of any transaction: a single round trip. For several that must agree, `read`."""
        with self._session(self._autocommit) as session:
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that only reads; it never waits for a writer."""
        with self._session(self.engine) as session, session.begin():
            yield session

    @contextmanager
    def _session(self, engine: Engine) -> Iterator[Session]:
        """A session; what a driver's own cursor raises in it is raised as SQLAlchemy would have raised it.

        Where the server has cut a connection off, those that wait in the pool are left as well.
        """
        try:
            with Session(engine, expire_on_commit=False) as session:
                yield session
        except (psycopg2.Error, sqlite3.Error) as raised:
            error: Any = raised
            if engine.dialect.is_disconnect(error, None, None):
                engine.dispose(close=False)
            kind = OperationalError if isinstance(error, _DRIVER_OUTAGES) else DBAPIError
            raise kind(None, None, error) from raised

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
        self._autocommit.dispose()


def _postgresql_engine(url: URL, pool_size: int, **options: Any) -> Engine:
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=False,
        connect_args=_POSTGRESQL_CONNECTION,
        **options,
    )
    event.listen(engine, "connect", _postgresql_connect)
    return engine


def _sqlite_connect(clock: Callable[[], float]) -> Callable[[Any, Any], None]:
    def connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        # to the microsecond, as datetimes are: a moment read is then equal to the moment stored
        connection.create_function("db_now", 0, lambda: round(clock(), 6))
        cursor = connection.cursor()
        for pragma in _SQLITE_SESSION:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return connect


def _sqlite_begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("orchestrator_begin", "BEGIN"))


def _postgresql_connect(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_POSTGRESQL_SESSION)
    connection.commit()
