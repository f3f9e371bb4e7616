"""The same shapes as plain Celery canvases, results on: what durable steps are compared with.

Nothing is set but what a user of canvases must set. `chain(group, group, group)` is not used: Celery 5.7 runs each
step of the third group once for every member of the second. Layers are chords, each of whose bodies starts the
next: one barrier a layer, a little less than the lattice asks for, in the order that Celery can keep.
"""

import os
import time
import uuid
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from celery import Celery, chain, chord, group

from benchmarks.measured import Measured
from benchmarks.shapes import Shape
from benchmarks.work import WORK

QUEUE = "bench-bare"
app = Celery("bare", broker=os.environ["BENCH_BROKER"], backend=os.environ["BENCH_RESULTS"])
app.conf.task_default_queue = QUEUE
app.conf.broker_connection_retry_on_startup = True
LIMIT = 900.0


@app.task  # type: ignore[untyped-decorator]
def step(_before: Any = None, work: str = "nothing") -> tuple[float, float]:
    """Do the work; when its body started and ended, in seconds since 1970."""
    began = time.time()
    WORK[work]()
    return began, time.time()


@app.task  # type: ignore[untyped-decorator]
def layers(left: int, width: int, last: str) -> tuple[float, float]:
    """Start the next layer; its chord's body is this task again."""
    if left > 0:
        body = layers.si(left - 1, width, last)
        chord(group(step.s() for _ in range(width)))(body.set(task_id=last) if left == 1 else body)
    now = time.time()
    return now, now


def _chain(length: int, _runs: int, work: str) -> Any:
    return chain(step.s(work=work) for _ in range(length)).apply_async()


def _chains(length: int, runs: int, work: str) -> Any:
    return group(chain(step.s(work=work) for _ in range(length)) for _ in range(runs)).apply_async()


def _fan(width: int, _: int, work: str) -> Any:
    steps = group(step.s(work=work) for _ in range(width))
    return chain(step.s(work=work), chord(steps, step.s(work=work))).apply_async()


def _group(width: int, _: int, work: str) -> Any:
    return group(step.s(work=work) for _ in range(width)).apply_async()


def _layers(count: int, width: int, _: str) -> Any:
    last = str(uuid.uuid4())
    layers.apply_async((count, width, last))
    return app.AsyncResult(last)


CANVASES: dict[str, Callable[[int, int, str], Any]] = {
    "chain": _chain,
    "chains": _chains,
    "fan": _fan,
    "group": _group,
    "layers": _layers,
}


def run(shape: Shape, cpu: Callable[[], float]) -> Measured:
    """Send the shape's canvas and wait for its result."""
    spent, began = cpu(), time.time()
    result = CANVASES[shape.canvas](*shape.sizes, shape.work)
    given = result.get(timeout=LIMIT)
    ended = max(at for _, at in given) if shape.canvas in ("group", "chains") else given[1]
    spent = cpu() - spent
    latencies = _latencies(result) if shape.canvas == "chain" else ()
    return Measured(steps=shape.steps, seconds=ended - began, cpu=spent, latencies=latencies)


def _latencies(result: Any) -> list[float]:
    """From the end of each body of a chain to the start of the next."""
    moments = []
    while result is not None:
        moments.append(result.get(timeout=LIMIT))
        result = result.parent
    return [later[0] - earlier[1] for later, earlier in pairwise(moments)]
