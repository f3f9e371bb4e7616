"""What a step of ours asks of the database and the broker, and what it leaves behind. On PostgreSQL."""

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import counting, cpu, place, workers
from benchmarks.counted import COUNTS_DIR
from benchmarks.counting import Counts
from benchmarks.driver import driver
from benchmarks.measured import table
from benchmarks.place import Place
from benchmarks.shapes import WARM_UP, Shape

STEPS = 1_000  # of a shape at least, so that sweeps and half-empty pages do not count for much
IDLE_SECONDS = 5.0
HEADINGS = ("workload, ours", "round trips a step", "commits a step", "messages a step", "bytes stored a step")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one step."""

    title: str
    counts: Counts
    size: float

    def row(self) -> tuple[str, ...]:
        counts = self.counts
        return (
            self.title, f"{counts.trips:.2f}", f"{counts.commits:.2f}", f"{counts.messages:.2f}", f"{self.size:.0f}"
        )  # fmt: skip


def costs(at: Place, shapes: Sequence[Shape], threads: int) -> str:
    """A table of what the step worker asks and the process that starts the runs, and a line on the sweeps.

    What they ask while nothing runs is measured and taken off.
    """
    parent = at.data_dir / "counts"
    directory, control = parent / "steps", parent / "control"
    for each in (parent, directory, control):
        each.mkdir()
    environ = at.environment() | {COUNTS_DIR: str(parent)}
    with workers.ours(environ, at.data_dir, threads, counted=True) as pids, driver(environ, str(directory)) as own:
        spent = cpu.ours(at, pids)
        for shape in WARM_UP:
            for kind in shape.kinds:
                own.run(shape, kind, spent)
        before = [counting.total(each) for each in (directory, control)]
        time.sleep(IDLE_SECONDS)
        after = [counting.total(each) for each in (directory, control)]
        idle, sweeps = (
            Counts().plus(later.plus(earlier, -1), 1 / IDLE_SECONDS)
            for later, earlier in zip(after, before, strict=True)
        )
        found = []
        for shape in shapes:
            for kind in shape.kinds:
                times = math.ceil(STEPS / shape.steps)
                counts, size, began = counting.total(directory), _stored(at), time.monotonic()
                for _ in range(times):
                    own.run(shape, kind, spent)
                gone = time.monotonic() - began
                counts = counting.total(directory).plus(counts, -1).plus(idle, -gone)
                steps = times * shape.steps
                found.append(
                    Cost(
                        title=shape.titled(kind),
                        counts=Counts().plus(counts, 1 / steps),
                        size=(_stored(at) - size) / steps,
                    )
                )
                print(f"{shape.titled(kind)}: counted in {gone:.1f} s", file=sys.stderr, flush=True)
    swept = f"Sweeps, beside these: {sweeps.trips:.0f} round trips and {sweeps.commits:.0f} commits a second."
    return f"{table(HEADINGS, [cost.row() for cost in found])}\n\n- {swept}"


def _stored(at: Place) -> int:
    """Bytes of all tables with their indexes."""
    assert at.database is not None
    statement = "SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables"
    return int(place.execute(at.database, statement)[0][0])
