"""Durations as a definition writes them. Source: spec "definition": 250ms, 30s, 5m, 2h, 7d or a number of seconds."""

import re
from typing import Any

LONGEST = 3_650 * 86_400.0
_WRITTEN = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def seconds(value: Any) -> float | None:
    """A duration in seconds; None when the value is none, is negative or is longer than ten years."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        found = float(value)
    elif isinstance(value, str) and (match := _WRITTEN.fullmatch(value)) is not None:
        found = float(match.group(1)) * _SECONDS[match.group(2)]
    else:
        return None
    return found if 0 <= found <= LONGEST else None
