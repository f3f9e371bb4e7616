"""Ours in a process of its own, which starts the runs: one program can so drive two installations.

What a process publishes with reads the environment once.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from benchmarks import place
from benchmarks.cpu import Cpu
from benchmarks.measured import Measured
from benchmarks.shapes import Shape
from models import schema
from orchestrator.settings import load

if TYPE_CHECKING:
    from benchmarks.ours import Ours

_own: "Ours | None" = None


@dataclass(frozen=True, slots=True)
class Driver:
    """The process that starts runs, as its parent sees it."""

    _pool: ProcessPoolExecutor

    def run(self, shape: Shape, kind: str, cpu: Cpu) -> Measured:
        """Run a shape with one of its kinds. Raises RuntimeError if a run does not succeed."""
        return self._pool.submit(_run, shape, kind, cpu).result()

    def start(self, definition: dict[str, Any]) -> str:
        """Start one run of a workflow and leave it; its id."""
        return self._pool.submit(_start, definition).result()


@contextmanager
def driver(environ: Mapping[str, str], counts: str | None = None) -> Iterator[Driver]:
    """What starts runs on the installation of this environment, whose schema is made here.

    `counts`: the directory where what the process asks of the database and tells the broker is counted.
    """
    schema.upgrade(load(environ).database)
    given = (dict(environ), counts)
    with ProcessPoolExecutor(
        1, mp_context=get_context("spawn"), initializer=_open, initargs=given
    ) as pool:
        try:
            yield Driver(pool)
        finally:
            pool.submit(_close).result()


def _open(environ: Mapping[str, str], counts: str | None) -> None:
    global _own
    os.environ.clear()
    os.environ.update(environ)
    sys.path.append(str(place.PLUGIN))
    if counts is not None:
        from benchmarks import counting

        counting.begin(counts)
    from benchmarks.ours import Ours  # it reads the environment when it publishes
    from orchestrator.services import deps

    _own = Ours(deps=deps.build(load()))


def _run(shape: Shape, kind: str, cpu: Cpu) -> Measured:
    assert _own is not None
    return _own.run(shape, kind, cpu)


def _start(definition: dict[str, Any]) -> str:
    assert _own is not None
    return _own.start(definition)


def _close() -> None:
    assert _own is not None
    _own.deps.close()
