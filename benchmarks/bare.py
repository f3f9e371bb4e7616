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

QUEUE = "bench-bare"
app = Celery("bare", broker=os.environ["BENCH_BROKER"], backend=os.environ["BENCH_RESULTS"])
app.conf.task_default_queue = QUEUE
app.conf.broker_connection_retry_on_startup = True
LIMIT = 900.0


@app.task
def tick(_before: Any = None) -> float:
    """Does nothing but say when its body started."""
    return time.time()


@app.task
def layers(left: int, width: int, last: str) -> float:
    """Start the next layer; its chord's body is this task again."""
    if left > 0:
        body = layers.si(left - 1, width, last)
        chord(group(tick.s() for _ in range(width)))(body.set(task_id=last) if left == 1 else body)
    return time.time()


def _chain(length: int, _runs: int) -> Any:
    return chain(tick.s() for _ in range(length)).apply_async()


def _chains(length: int, runs: int) -> Any:
    return group(chain(tick.s() for _ in range(length)) for _ in range(runs)).apply_async()


def _fan(width: int, _: int) -> Any:
    return chain(tick.s(), chord(group(tick.s() for _ in range(width)), tick.s())).apply_async()


def _layers(count: int, width: int) -> Any:
    last = str(uuid.uuid4())
    layers.apply_async((count, width, last))
    return app.AsyncResult(last)


CANVASES: dict[str, Callable[[int, int], Any]] = {
    "chain": _chain,
    "chains": _chains,
    "fan": _fan,
    "layers": _layers,
}


def run(shape: Shape, cpu: Callable[[], float]) -> Measured:
    """Send the shape's canvas and wait for its result."""
    spent, began = cpu(), time.time()
    result = CANVASES[shape.canvas](*shape.sizes)
    given = result.get(timeout=LIMIT)
    ended = max(given) if isinstance(given, list) else given
    spent = cpu() - spent
    latencies = _latencies(result) if shape.canvas == "chain" else ()
    return Measured(steps=shape.steps, seconds=ended - began, cpu=spent, latencies=latencies)


def _latencies(result: Any) -> list[float]:
    """From the start of each body of a chain to that of the next: bodies take no time."""
    starts = []
    while result is not None:
        starts.append(result.get(timeout=LIMIT))
        result = result.parent
    return [later - earlier for later, earlier in pairwise(starts)]
