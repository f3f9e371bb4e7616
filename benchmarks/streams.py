"""`python -m benchmarks.streams`: what it costs to write what 100 agents stream at once, 50 pieces a second each.

One process with the writer of streams; of one run the chunks are read every 50 ms, as the API's hub does. Prints
CPU, rows and the time from a piece to its reader. Takes a database of its own, on PostgreSQL by default.
"""

import argparse
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.engine import make_url

from benchmarks import place
from models import schema
from models.base import uuid7
from models.database import Database
from models.event import Chunk
from models.queries import chunks as queries
from orchestrator.bridge import Piece
from orchestrator.services.streaming import Chunks, Stream

STREAMS, RATE, SECONDS, TICK = 100, 50, 20.0, 0.05
PIECE = "a word, or "  # and the moment of its making


class _Nothing:
    def __call__(self, piece: Piece) -> None:
        """Take it."""

    def end(self) -> None:
        """Nothing to write."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__)
    parser.add_argument("--embedded", action="store_true", help="on SQLite")
    parser.add_argument("--database", default="postgresql://postgres@127.0.0.1:5432/postgres")
    given = parser.parse_args()
    with _sqlite() if given.embedded else _postgresql(given.database) as url:
        schema.upgrade(url)
        print(measure(url, None if given.embedded else url))


def measure(url: str, postgresql: str | None) -> str:
    """A table row: database, pieces, rows, CPU of the process and of the server, latencies."""
    writer, reading = Chunks(Database(url)), Database(url)
    run_ids = [uuid7() for _ in range(STREAMS)]
    over = threading.Event()
    delays: list[float] = []
    reader = threading.Thread(target=_read, args=(reading, run_ids[0], over, delays))
    idle = _feeding()
    reader.start()
    own = time.process_time()
    pieces = _feed([writer.stream(run_id, "step", 1) for run_id in run_ids])
    own = time.process_time() - own - idle
    server = sum(_cpu(pid) for pid in place.backends(postgresql))
    with reading.read() as session:
        rows = int(session.execute(select(func.count()).select_from(Chunk)).scalar_one())
    over.set()
    reader.join()
    writer.close()
    reading.close()
    delays.sort()
    cells = (
        "PostgreSQL" if postgresql else "SQLite",
        f"{pieces / SECONDS:.0f}",
        f"{rows / SECONDS:.0f}",
        f"{100 * own / SECONDS:.1f} %",
        f"{100 * server / SECONDS:.1f} %" if postgresql else "–",
        f"{1_000 * delays[len(delays) // 2]:.0f} / {1_000 * delays[int(0.95 * len(delays))]:.0f}",
    )
    head = ("database", "pieces/s", "rows/s", "CPU, process", "CPU, server", "piece to reader p50 / p95 ms")
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ("---",) * len(head), cells))


def _feed(streams: Sequence[Stream | _Nothing]) -> int:
    """Every stream gets its pieces at their times; how many they were."""
    began, number = time.monotonic(), 0
    while (now := time.monotonic() - began) < SECONDS:
        due = int(now * RATE) * len(streams)
        while number < due:
            streams[number % len(streams)](Piece(text=f"{PIECE}{time.monotonic():.4f};", tokens=number))
            number += 1
        time.sleep(1 / RATE / 2)
    for stream in streams:
        stream.end()
    return number


def _feeding() -> float:
    """CPU seconds of the feeding alone."""
    before = time.process_time()
    _feed([_Nothing() for _ in range(STREAMS)])
    return time.process_time() - before


def _read(db: Database, run_id: str, over: threading.Event, delays: list[float]) -> None:
    last = 0
    while not over.wait(TICK):
        with db.glance() as session:
            rows = queries.after(session, last, [run_id], 1_000)
        now = time.monotonic()
        for row in rows:
            last = row.id
            moments = row.data.get("text", "").replace(PIECE, "").split(";")
            delays.extend(now - float(moment) for moment in moments if moment)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _postgresql(server: str) -> Iterator[str]:
    own = make_url(server).set(drivername="postgresql", database=f"orchestrator_bench_{os.getpid()}")
    place.execute(server, f"CREATE DATABASE {own.database}")
    try:
        yield own.render_as_string(hide_password=False)
    finally:
        place.execute(server, f"DROP DATABASE {own.database} WITH (FORCE)")


@contextmanager
def _sqlite() -> Iterator[str]:
    directory = tempfile.mkdtemp(prefix="orchestrator-bench-")
    try:
        yield f"sqlite:///{directory}/orchestrator.db"
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
