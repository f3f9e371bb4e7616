"""Where the benchmark works: a database and broker databases of its own, gone at its end."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import redis
from sqlalchemy.engine import make_url

from orchestrator.supervisor import valkey

NUMBERS = (11, 12)  # of the Redis databases that are taken: ours, bare Celery's
PLUGIN = Path(__file__).parent / "plugin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """URLs; `database`, `broker` None = the embedded ones in `data_dir`. `bare_*` are for the Celery app that ours
    is compared with."""

    data_dir: Path
    database: str | None
    broker: str | None
    bare_broker: str
    bare_results: str

    def environment(self) -> dict[str, str]:
        """What every process of the benchmark is started with."""
        given = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
        given |= {
            "PYTHONPATH": os.pathsep.join(
                part for part in (str(PLUGIN), given.get("PYTHONPATH", "")) if part
            ),
            "ORCHESTRATOR_DATA_DIR": str(self.data_dir),
            "ORCHESTRATOR_SECRET_KEY": "of-a-benchmark-that-keeps-nothing",
            "ORCHESTRATOR_LOG_LEVEL": "warning",
            "BENCH_BROKER": self.bare_broker,
            "BENCH_RESULTS": self.bare_results,
        }
        if self.database is not None:
            given["ORCHESTRATOR_DATABASE_URL"] = self.database
        if self.broker is not None:
            given["ORCHESTRATOR_BROKER_URL"] = self.broker
        return given


@contextmanager
def servers(database: str, broker: str | None, server: str) -> Iterator[Place]:
    """On servers that run: `database` is the URL of any database there, `server` that of a Redis without the
    number. `broker` None: that Redis. Raises SystemExit when a Redis database that it would take is in use."""
    with _numbers(server) as (first, second), _directory() as data_dir, _database(database, "") as own:
        yield Place(
            data_dir=data_dir,
            database=own,
            broker=broker or first,
            bare_broker=broker or second,
            bare_results=second,
        )


@contextmanager
def two(database: str, server: str) -> Iterator[tuple[Place, Place]]:
    """Two places side by side, each with a database and a Redis database of its own; none for bare Celery."""
    with (
        _numbers(server) as numbers,
        _directory() as one,
        _directory() as other,
        _database(database, "_one") as first,
        _database(database, "_other") as second,
    ):
        places = [
            Place(data_dir=data_dir, database=own, broker=number, bare_broker=number, bare_results=number)
            for data_dir, own, number in zip((one, other), (first, second), numbers, strict=True)
        ]
        yield places[0], places[1]


@contextmanager
def _numbers(server: str) -> Iterator[tuple[str, str]]:
    """The URLs of the Redis databases that are taken; emptied in the end."""
    urls = [f"{server.rstrip('/')}/{number}" for number in NUMBERS]
    for url in urls:
        with redis.Redis.from_url(url) as client:
            if client.dbsize():
                raise SystemExit(f"{url} is not empty; give another server with --redis, or flush it")
    try:
        yield urls[0], urls[1]
    finally:
        for url in urls:
            with redis.Redis.from_url(url) as client:
                client.flushdb()


@contextmanager
def _directory() -> Iterator[Path]:
    data_dir = Path(tempfile.mkdtemp(prefix="orchestrator-bench-"))
    try:
        yield data_dir
    finally:
        shutil.rmtree(data_dir)


@contextmanager
def _database(server: str, suffix: str) -> Iterator[str]:
    """The URL of a database that is made here."""
    name = f"orchestrator_bench_{os.getpid()}{suffix}"
    own = make_url(server).set(drivername="postgresql", database=name)
    execute(server, f"CREATE DATABASE {name}")
    try:
        yield own.render_as_string(hide_password=False)
    finally:
        execute(server, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def embedded() -> Iterator[Place]:
    """SQLite and Valkey from its wheel, in a directory of their own."""
    with _directory() as data_dir:
        (data_dir / "valkey").mkdir()
        socket_file = data_dir / "valkey" / "valkey.sock"
        server = subprocess.Popen(valkey.command(data_dir, socket_file), stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 10
            while not valkey.answers(socket_file) and time.monotonic() < deadline:
                time.sleep(0.05)
            at = f"redis+socket://{socket_file}?virtual_host="
            yield Place(
                data_dir=data_dir, database=None, broker=None, bare_broker=f"{at}2", bare_results=f"{at}3"
            )
        finally:
            server.terminate()
            server.wait()


def execute(url: str, statement: str) -> list[Any]:
    """Run one statement outside a transaction."""
    with closing(psycopg2.connect(url, connect_timeout=3)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def backends(url: str | None) -> list[int]:
    """The server processes of a database's connections; none for SQLite."""
    if url is None:
        return []
    name = make_url(url).database
    statement = f"SELECT pid FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    return [pid for (pid,) in execute(url, statement)]
