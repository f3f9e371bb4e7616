"""The input of a step from what its predecessors gave.

Source: spec "definition", Data chaining.
"""

from collections.abc import Iterable
from typing import Any


def merge(outputs: Iterable[Any]) -> dict[str, Any]:
    """Outputs merged shallowly, in order: later wins. What is no object counts as `{"value": …}`."""
    merged: dict[str, Any] = {}
    for output in outputs:
        merged.update(output if isinstance(output, dict) else {"value": output})
    return merged
