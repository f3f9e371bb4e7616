"""Results of the CEL evaluator as plain JSON values."""

import datetime
import math
from collections.abc import Callable
from typing import Any

from cel_expr_python import cel

MAX_VALUES = 100_000


def plain(value: cel.Value) -> Any:
    """A result as JSON: keys become strings, in order, timestamps RFC 3339, durations seconds.

    Raises ValueError for an error value, for what JSON has not, and for more than `MAX_VALUES` values.
    """
    found = value.plain_value()
    if found is True or found is False or found is None:
        return found
    return _converted(value, [MAX_VALUES])


def _converted(value: cel.Value, left: list[int]) -> Any:
    left[0] -= 1
    if left[0] < 0:
        raise ValueError(f"the result holds more than {MAX_VALUES:,} values")
    kind = value.type()
    if kind == cel.Type.ERROR:
        raise ValueError(str(value.plain_value()))
    return _converter(kind)(value.value(), left)


def _converter(kind: cel.Type) -> Callable[[Any, list[int]], Any]:
    name = kind.name().partition("<")[0]
    found = _CONVERTERS.get(name)
    if found is None:
        raise ValueError(f"the result is of type {name.lower()}, no JSON value; convert it with string(…)")
    return found


def _same(value: Any, left: list[int]) -> Any:  # noqa: ARG001
    return value


def _finite(value: float, left: list[int]) -> float:  # noqa: ARG001
    if not math.isfinite(value):
        raise ValueError(f"the result is {value}, which is no JSON number")
    return value


def _list(value: list[Any], left: list[int]) -> list[Any]:
    return [_converted(item, left) for item in value]


def _map(value: dict[Any, Any], left: list[int]) -> dict[str, Any]:
    named = {_key(key): item for key, item in value.items()}
    return {key: _converted(named[key], left) for key in sorted(named)}


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key)


def _moment(value: datetime.datetime, left: list[int]) -> str:  # noqa: ARG001
    return value.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")


def _seconds(value: datetime.timedelta, left: list[int]) -> float:  # noqa: ARG001
    return value.total_seconds()


_CONVERTERS: dict[str, Callable[[Any, list[int]], Any]] = {
    "NULL": _same,
    "BOOL": _same,
    "INT": _same,
    "UINT": _same,
    "STRING": _same,
    "DOUBLE": _finite,
    "LIST": _list,
    "MAP": _map,
    "TIMESTAMP": _moment,
    "DURATION": _seconds,
}
