"""Bare Celery and ours on the same machine at the same time, shape by shape."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from benchmarks import cpu, measured, workers
from benchmarks.driver import Driver
from benchmarks.measured import Measured, Pairs, table
from benchmarks.place import Place
from benchmarks.shapes import WARM_UP, Shape
from benchmarks.turns import Way, in_turn

BARE = "bare Celery"
WAITING = 200  # threads of either side where steps wait
HEADINGS = (
    "workload", "bare Celery, s", "ours, s", "ours ÷ bare, s", "bare Celery, steps/s", "ours, steps/s",
    "ours ÷ bare, steps/s", "bare, CPU ms a step", "ours, CPU ms a step", "bare, latency p50 / p95 ms",
    "ours, latency p50 / p95 ms",
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Comparison:
    """`found`: by shape, by way (our node types, and BARE), what each repeat gave. `peaks`: MiB of our processes by
    how many threads the step worker had."""

    shapes: Sequence[Shape]
    found: dict[str, dict[str, list[Measured]]] = field(default_factory=dict)
    peaks: dict[int, list[int]] = field(default_factory=dict)

    def table(self) -> str:
        rows = [
            _row(Pairs(title=shape.titled(kind), first=found[BARE], second=found[kind]))
            for shape in self.shapes
            for found in [self.found[shape.name]]
            for kind in shape.kinds
        ]
        return table(HEADINGS, rows)

    def growth(self) -> list[str]:
        """What a step of the large lattice takes against one of the small."""
        known = {shape.name: shape for shape in self.shapes}
        if not {"w3", "w6"} <= set(known):
            return []
        return [
            f"Time a step at 5,000 nodes, {label}: {ratio:.2f} × that at 200."
            for kind, label in known["w6"].kinds.items()
            for ratio in [self._a_step("w6", kind) / self._a_step("w3", kind)]
        ]

    def memory(self) -> list[str]:
        """The peak memory of each of our processes."""
        return [
            f"Peak MiB with {threads} threads: step worker {peaks[0]}; control worker, its children, beat: "
            f"{', '.join(map(str, peaks[1:]))}."
            for threads, peaks in self.peaks.items()
        ]

    def _a_step(self, name: str, kind: str) -> float:
        many = self.found[name][kind]
        return measured.seconds(many) / many[0].steps


def compare(at: Place, own: Driver, shapes: Sequence[Shape], threads: int, repeats: int) -> Comparison:
    """Run all shapes by both sides; those whose steps wait with a thread each on both."""
    result = Comparison(shapes=shapes)
    for waits in (False, True):
        some = [shape for shape in shapes if shape.waits == waits]
        if some:
            number = WAITING if waits else threads
            with _sides(at, own, number, WAITING if waits else None) as (ways, pids):
                for shape in WARM_UP:
                    in_turn(shape, _of(shape, ways), 1)
                for shape in some:
                    result.found[shape.name] = in_turn(shape, _of(shape, ways), shape.repeats(repeats))
                result.peaks[number] = workers.peaks(pids)
    return result


@contextmanager
def _sides(
    at: Place, own: Driver, threads: int, bare_threads: int | None
) -> Iterator[tuple[dict[str, Way], list[int]]]:
    """All ways to run a shape, and the ids of our processes."""
    environ = at.environment()
    os.environ.update(environ)
    from benchmarks import bare  # its app reads the environment when it is imported

    with (
        workers.ours(environ, at.data_dir, threads) as our_pids,
        workers.bare(environ, at.data_dir, bare_threads) as bare_pids,
    ):
        kinds = ("tick", "call", "second", "light", "heavy")
        spent = cpu.ours(at, our_pids)
        ways: dict[str, Way] = {BARE: partial(bare.run, cpu=cpu.bare(at, bare_pids))}
        ways |= {kind: partial(_ours, own, kind, spent) for kind in kinds}
        yield ways, our_pids


def _ours(own: Driver, kind: str, spent: cpu.Cpu, shape: Shape) -> Measured:
    return own.run(shape, kind, spent)


def _of(shape: Shape, ways: dict[str, Way]) -> dict[str, Way]:
    return {name: ways[name] for name in (BARE, *shape.kinds)}


def _row(pairs: Pairs) -> tuple[str, ...]:
    bare, ours = pairs.first, pairs.second
    return (
        pairs.title,
        f"{measured.seconds(bare):.2f}",
        f"{measured.seconds(ours):.2f}",
        f"{pairs.time_ratio:.2f}",
        _rate(bare),
        _rate(ours),
        f"{pairs.rate_ratio:.2f}",
        f"{measured.cpu_ms(bare):.2f}",
        f"{measured.cpu_ms(ours):.2f}",
        measured.latency(bare),
        measured.latency(ours),
    )


def _rate(many: Sequence[Measured]) -> str:
    found = measured.rate(many)
    return f"{found:.0f}" if found >= 10 else f"{found:.2f}"
