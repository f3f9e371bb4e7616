"""W1 to W4 on a database with a million finished steps and 10,000 that wait, against an empty one beside it."""

import argparse
import time
from functools import partial

from benchmarks import cpu, filling, measured, place, workers
from benchmarks.cpu import Cpu
from benchmarks.driver import Driver, driver
from benchmarks.measured import Measured, Pairs, table
from benchmarks.shapes import MAIN, WARM_UP, Shape, chosen
from benchmarks.turns import Way, in_turn

WAITING = 10_000
TARGET = 1.15
CATCH_UP = 1.5
HEADINGS = (
    "workload", "empty, ms a step", "full, ms a step", "full ÷ empty", "empty, CPU ms a step", "full, CPU ms a step",
)  # fmt: skip


def full(given: argparse.Namespace) -> str:
    """A table. The workers of one database stand still while the other's are measured."""
    with place.two(given.database, given.redis) as (first, second):
        content = filling.fill(second, given.threads, finished=given.finished, waiting=WAITING)
        with (
            driver(first.environment()) as empty,
            driver(second.environment()) as filled,
            workers.ours(first.environment(), first.data_dir, given.threads) as empty_pids,
            workers.ours(second.environment(), second.data_dir, given.threads) as full_pids,
        ):
            alone = partial(_alone, empty, cpu.ours(first, empty_pids), full_pids)
            beside = partial(_alone, filled, cpu.ours(second, full_pids), empty_pids)
            rows = []
            for shape in (*WARM_UP, *chosen(given.only, MAIN)):
                for kind in shape.kinds:
                    ways: dict[str, Way] = {"empty": partial(alone, kind), "full": partial(beside, kind)}
                    found = in_turn(shape, ways, 1 if shape in WARM_UP else given.repeats)
                    if shape not in WARM_UP:
                        rows.append(_row(Pairs(title=shape.titled(kind), first=found["empty"], second=found["full"])))
    target = f"Medians of {given.repeats}; the ratio is to be {TARGET} at most. The full database: {content}."
    return f"{table(HEADINGS, rows)}\n\n- {target}"


def _alone(own: Driver, spent: Cpu, others: list[int], kind: str, shape: Shape) -> Measured:
    with workers.stopped(others):
        time.sleep(CATCH_UP)  # with the sweeps that were due while these stood still
        return own.run(shape, kind, spent)


def _row(pairs: Pairs) -> tuple[str, ...]:
    steps = pairs.first[0].steps
    return (
        pairs.title,
        *(f"{1_000 * measured.seconds(side) / steps:.2f}" for side in (pairs.first, pairs.second)),
        f"{pairs.time_ratio:.2f}",
        *(f"{measured.cpu_ms(side):.2f}" for side in (pairs.first, pairs.second)),
    )
