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
    data_dir = Path(tempfile.mkdtemp(prefix="orchestrator-bench-"))
    numbers = [f"{server.rstrip('/')}/{number}" for number in NUMBERS]
    own = make_url(database).set(drivername="postgresql", database=f"orchestrator_bench_{os.getpid()}")
    for url in numbers:
        with redis.Redis.from_url(url) as client:
            if client.dbsize():
                raise SystemExit(f"{url} is not empty; give another server with --redis, or flush it")
    execute(database, f"CREATE DATABASE {own.database}")
    try:
        yield Place(
            data_dir=data_dir,
            database=own.render_as_string(hide_password=False),
            broker=broker or numbers[0],
            bare_broker=broker or numbers[1],
            bare_results=numbers[1],
        )
    finally:
        execute(database, f"DROP DATABASE {own.database} WITH (FORCE)")
        for url in numbers:
            with redis.Redis.from_url(url) as client:
                client.flushdb()
        shutil.rmtree(data_dir)


@contextmanager
def embedded() -> Iterator[Place]:
    """SQLite and Valkey from its wheel, in a directory of their own."""
    data_dir = Path(tempfile.mkdtemp(prefix="orchestrator-bench-"))
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
        shutil.rmtree(data_dir)


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
