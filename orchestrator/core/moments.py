"""A moment as a definition writes it: RFC 3339 with its offset, or seconds since 1970."""

from datetime import datetime
from typing import Any

_LATEST = 253_402_300_799.0  # the end of the year 9999


def seconds(value: Any) -> float | None:
    """Seconds since 1970; None when the value is no such moment."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if 0 <= value <= _LATEST else None
    try:
        found = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        return None
    return None if found.tzinfo is None else found.timestamp()
