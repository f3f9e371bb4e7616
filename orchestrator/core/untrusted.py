"""What comes from outside is checked before it is stored: what JSON or the database cannot hold is refused.

Source: spec "reliability" §3 R11 and §4: a NUL, a lone surrogate, NaN, 2^63 or 9,000 levels otherwise end in
a 500, or in a step that stays open for ever.
"""

import math
from functools import reduce
from typing import Any

from models.errors import Problem
from orchestrator.core.pointer import child

_LOW, _HIGH = -(1 << 63), (1 << 63) - 1
_Place = tuple["_Place", str | int] | None


def problem(value: Any, *, max_nesting: int, pointer: str = "") -> Problem | None:
    """The first thing that is wrong with a value from outside, or None. Never recursive.

    Codes: TOO_DEEP (more than `max_nesting` levels of containers), INVALID_VALUE. `pointer` is where the
    value itself stands.
    """
    wrong = _scalar(value)
    if wrong is not None:
        return Problem(pointer=pointer, code="INVALID_VALUE", message=wrong)
    level: list[tuple[Any, _Place]] = [(value, None)] if isinstance(value, (dict, list)) else []
    depth = 0
    while level:
        if depth >= max_nesting:
            message = f"nested deeper than {max_nesting} levels; flatten it"
            return Problem(pointer=_pointer(pointer, level[0][1]), code="TOO_DEEP", message=message)
        deeper: list[tuple[Any, _Place]] = []
        for container, place in level:
            found = _inside(container, place, deeper)
            if found is not None:
                return Problem(pointer=_pointer(pointer, found[0]), code="INVALID_VALUE", message=found[1])
        level, depth = deeper, depth + 1
    return None


def _inside(
    container: dict[Any, Any] | list[Any], place: _Place, deeper: list[tuple[Any, _Place]]
) -> tuple[_Place, str] | None:
    for key, item in container.items() if isinstance(container, dict) else enumerate(container):
        if isinstance(item, (dict, list)):
            deeper.append((item, (place, key)))
        elif (wrong := _scalar(item)) is not None:
            return (place, key), wrong
    return None if isinstance(container, list) else _keys(container, place)


def _keys(container: dict[Any, Any], place: _Place) -> tuple[_Place, str] | None:
    for key in container:
        wrong = _text(key) if isinstance(key, str) else f"{key!r} is no string"
        if wrong is not None:
            return place, f"a key is refused: {wrong}"
    return None


def _pointer(start: str, place: _Place) -> str:
    keys: list[str | int] = []
    while place is not None:
        place, key = place
        keys.append(key)
    found = reduce(child, reversed(keys), start)
    return found.encode("utf-8", "replace").decode().replace("\x00", "?")


def _text(text: str) -> str | None:
    if "\x00" in text:
        return "the text holds a NUL character; remove it"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "the text holds half of a surrogate pair, which is no character; remove it"
    return None


def _scalar(value: Any) -> str | None:
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, (bool, dict, list)):
        return None
    if isinstance(value, int):
        return None if _LOW <= value <= _HIGH else "the integer is beyond 64 bits; send it as a string"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{value} is no JSON number; send null or a string"
    return f"{type(value).__name__} is no JSON type"
