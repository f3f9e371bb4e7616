"""Fills a database with runs: a few are carried by workers, and their rows are copied as often as it takes.

So every copy is what the engine writes, whatever that is. A copy has an id of its own time, and transaction numbers
before those of all that is read from now on.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
from sqlalchemy import Table

from benchmarks import cpu, place, workers
from benchmarks.driver import driver
from benchmarks.place import Place
from benchmarks.shapes import chain
from models.base import Base, Moment
from models.event import Event
from models.run import Run, RunData
from models.step import Attempt, Step

TABLES: Sequence[type[Base]] = (Run, RunData, Step, Attempt, Event)
STEPS = 5  # of a finished run
PAGE = 20_000  # runs
DAYS = 30
FINISHED = chain("finished", "", STEPS)
WAITING = {
    "name": "waiting",
    "nodes": [{"id": "a", "type": "tick"}, {"id": "b", "type": "wait", "duration": f"{DAYS}d"}],
    "edges": ["a >> b"],
}
LIMIT = 60.0


def fill(at: Place, threads: int, *, finished: int, waiting: int) -> str:
    """Fill the database with so many steps that finished and so many that wait; says what it holds then."""
    assert at.database is not None
    with driver(at.environment()) as own, workers.ours(at.environment(), at.data_dir, threads) as pids:
        own.run(FINISHED, "answer", cpu.ours(at, pids))
        parked = own.start(WAITING)
        _until(at.database, f"SELECT 1 FROM step WHERE run_id = '{parked}' AND status = 'waiting'")
        _until(at.database, _PASSED)
    with _cursor(at.database) as cursor:
        cursor.execute("SELECT id FROM run WHERE status = 'success'")
        template = str(cursor.fetchone()[0])
        began = time.monotonic()
        runs = finished // STEPS
        for last in range(runs, 0, -PAGE):  # as they would have come, the oldest first
            first = max(0, last - PAGE)
            _copy(cursor, template, (first, last), f"interval '{DAYS} days' / {runs}")
            print(f"filled {STEPS * (runs - first):,} of {finished:,}", file=sys.stderr, flush=True)
        _copy(cursor, parked, (0, waiting), "interval '0.3 s'")
        cursor.execute("VACUUM ANALYZE")
        print(f"filled in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        return _content(cursor)


# Every reader of the journal has come past what there is: what is copied before that is no news to any.
_PASSED = """
    SELECT 1 FROM subscriber
    HAVING count(*) > 0 AND min(split_part(cursor, '.', 1)::bigint) > (SELECT max(xid) FROM event)
"""
# An id as uuid7() makes one, of a time that is spread over what lies behind, in the order of time.
_COPIES = """
    CREATE TEMP TABLE copies AS
    SELECT place, ago, (lpad(to_hex((extract(epoch FROM now() - ago) * 1000)::bigint), 12, '0') || '7' ||
        substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid AS run_id
    FROM (
        SELECT place, {apart} * place AS ago FROM generate_series({first} + 1, {last}) AS place
    ) AS times
    ORDER BY place DESC
"""


def _copy(cursor: Any, run_id: str, places: tuple[int, int], apart: str) -> None:
    """Copy a run's rows once for each place, so far apart in time, the last one the oldest."""
    cursor.execute(_COPIES.format(apart=apart, first=places[0], last=places[1]))
    cursor.execute("ANALYZE copies")
    for model in TABLES:
        table = model.__table__
        assert isinstance(table, Table)
        key = "id" if model is Run else "run_id"
        names = [column.name for column in table.columns]
        values = [_value(column.name, key, isinstance(column.type, Moment)) for column in table.columns]
        cursor.execute(
            f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {', '.join(values)} "
            f"FROM copies CROSS JOIN {table.name} AS own WHERE own.{key} = '{run_id}' ORDER BY copies.place DESC"
        )
    cursor.execute("DROP TABLE copies")


def _value(name: str, key: str, moment: bool) -> str:
    if name == key:
        return "copies.run_id"
    if name == "xid":
        return "own.xid - 1 - copies.place"
    return f"own.{name} - copies.ago" if moment else f"own.{name}"


def _content(cursor: Any) -> str:
    counts = {}
    for model in (Run, Step, Attempt, Event):
        cursor.execute(f"SELECT count(*) FROM {model.__tablename__}")
        counts[model.__tablename__] = cursor.fetchone()[0]
    cursor.execute("SELECT count(*) FROM step WHERE status = 'waiting'")
    waiting = cursor.fetchone()[0]
    cursor.execute("SELECT pg_database_size(current_database()) / 1000000")
    held = ", ".join(f"{count:,} {name}s" for name, count in counts.items())
    return f"{held}, of the steps {waiting:,} wait; {cursor.fetchone()[0]:,} MB"


def _until(url: str, statement: str) -> None:
    until = time.monotonic() + LIMIT
    while not place.execute(url, statement):
        if time.monotonic() > until:
            raise RuntimeError(f"did not come true in {LIMIT:g} s: {statement}")
        time.sleep(0.1)


@contextmanager
def _cursor(url: str) -> Iterator[Any]:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
