"""Ways to run a shape, each in its turn: what one of them meets on the machine, the others meet too."""

import sys
import time
from collections.abc import Callable, Mapping

from benchmarks import workers
from benchmarks.measured import Measured
from benchmarks.shapes import Shape

Way = Callable[[Shape], Measured]


def in_turn(shape: Shape, ways: Mapping[str, Way], repeats: int) -> dict[str, list[Measured]]:
    """Run a shape in each way, so many times; another way begins each time. Says on stderr what it does."""
    found: dict[str, list[Measured]] = {name: [] for name in ways}
    names = list(ways)
    began = time.monotonic()
    for repeat in range(repeats):
        for offset in range(len(names)):
            name = names[(repeat + offset) % len(names)]
            workers.settle()
            found[name].append(ways[name](shape))
    took = time.monotonic() - began
    print(f"{shape.title}: {repeats} × {', '.join(names)} in {took:.1f} s", file=sys.stderr, flush=True)
    return found
