"""How much work and memory a CEL expression could take on its data, estimated before it is evaluated.

CEL bounds its iterations (10,000) and its nesting (32), not its memory, and its `map` and `filter` copy the
list for each item: 10,000 items took 3.8 s and 1.6 GB (measured). What could become too large is refused.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from orchestrator.core.condition_names import Names

MAX_DEPTH = 256
MAX_COLLECTED = 2_000
MAX_BUILT = 64 << 20
_ITERATIONS = 10_000


@dataclass(slots=True)
class Size:
    """What a value holds: items in all its containers, its longest string and list, its depth."""

    items: int = 0
    text: int = 0
    items_of_longest: int = 0
    depth: int = 0


def measure(values: Iterable[Any]) -> Size:
    """The size of some JSON values together; stops going down at `MAX_DEPTH`."""
    size = Size()
    level = list(values)
    while level and size.depth <= MAX_DEPTH:
        deeper: list[Any] = []
        for value in level:
            if type(value) is str:
                size.text = max(size.text, len(value))
            elif isinstance(value, (dict, list)):
                size.items += len(value)
                size.items_of_longest = max(size.items_of_longest, len(value))
                deeper.extend(value.values() if isinstance(value, dict) else value)
        level = deeper
        size.depth += 1
    return size


def refusal(names: Names, size: Size) -> str | None:
    """Why the expression is not evaluated on data of this size; None when it may be."""
    if size.depth > MAX_DEPTH:
        return f"the data is nested deeper than {MAX_DEPTH} levels"
    growth = 1 + names.pluses if names.macros < 2 else 2 ** min(names.pluses, 40)
    commas = names.text.count(",") + 1
    if names.collects and max(size.items_of_longest, commas) * growth > MAX_COLLECTED:
        return f"map and filter take {MAX_COLLECTED:,} items at most; use a transform node for longer lists"
    rounds = min(_ITERATIONS, max(size.items, commas) ** names.macros) if names.macros else 1
    if names.pluses and rounds * growth * max(size.text, len(names.text)) > MAX_BUILT:
        return f"it could build more than {MAX_BUILT >> 20} MiB of text; use a transform node"
    return None
