"""Checks of a document's fields, to be put together: each reports what is wrong with one value at a pointer."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from orchestrator.core import durations
from orchestrator.core.pointer import child
from orchestrator.core.report import Code, Report, listed, shown

Check = Callable[[Report, str, Any], None]

_TYPES: dict[type, str] = {
    str: "text",
    bool: "true or false",
    dict: "an object",
    list: "a list",
    type(None): "null",
    int: "a number",
    float: "a number",
}


def is_a(report: Report, pointer: str, value: Any, *kinds: type) -> bool:
    """Whether the value is of one of these types (a boolean is no number); reports INVALID_TYPE when not."""
    if isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)):
        return True
    wanted = " or ".join(dict.fromkeys(_TYPES[kind] for kind in kinds))
    given = _TYPES.get(type(value), type(value).__name__)
    report.add(pointer, Code.INVALID_TYPE, f"{wanted} is wanted here, not {given}: {shown(value)}")
    return False


def anything(report: Report, pointer: str, value: Any) -> None:
    """Any JSON value."""


def text(limit: int = 1_000, *, empty: bool = False) -> Check:
    """A string of at most `limit` characters."""

    def check(report: Report, pointer: str, value: Any) -> None:
        if not is_a(report, pointer, value, str):
            return
        if len(value) > limit:
            message = f"the text has {len(value)} characters, {limit} are allowed; make it shorter"
            report.add(pointer, Code.INVALID_VALUE, message)
        elif not empty and not value.strip():
            report.add(
                pointer, Code.INVALID_VALUE, "the text is empty; write something or leave the field out"
            )

    return check


def name(pattern: str, remedy: str) -> Check:
    """A string of a pattern; `remedy` says what is allowed."""
    compiled = re.compile(pattern)

    def check(report: Report, pointer: str, value: Any) -> None:
        if is_a(report, pointer, value, str) and compiled.fullmatch(value) is None:
            report.add(pointer, Code.INVALID_NAME, f"{shown(value)} is not allowed as a name; {remedy}")

    return check


def boolean(report: Report, pointer: str, value: Any) -> None:
    """true or false."""
    is_a(report, pointer, value, bool)


def integer(low: int, high: int) -> Check:
    """A whole number within bounds, written as one."""

    def check(report: Report, pointer: str, value: Any) -> None:
        if isinstance(value, float):
            report.add(pointer, Code.INVALID_TYPE, f"a whole number is wanted here, not {shown(value)}")
        elif is_a(report, pointer, value, int) and not low <= value <= high:
            report.add(
                pointer, Code.INVALID_VALUE, f"{value} is not allowed; write a number from {low} to {high}"
            )

    return check


def number(low: float, high: float) -> Check:
    """A number within bounds."""

    def check(report: Report, pointer: str, value: Any) -> None:
        if is_a(report, pointer, value, int, float) and not low <= value <= high:
            message = f"{value} is not allowed; write a number from {low:g} to {high:g}"
            report.add(pointer, Code.INVALID_VALUE, message)

    return check


def choice(*choices: str) -> Check:
    """One of a few words."""

    def check(report: Report, pointer: str, value: Any) -> None:
        if is_a(report, pointer, value, str) and value not in choices:
            hint = report.hint(value, choices)
            message = f"{shown(value)} is not allowed; write one of {', '.join(choices)}{hint}"
            report.add(pointer, Code.INVALID_VALUE, message)

    return check


def duration(*, zero: bool = False) -> Check:
    """A duration; `zero` is allowed where no time at all makes sense."""

    def check(report: Report, pointer: str, value: Any) -> None:
        found = durations.seconds(value)
        if found is None:
            remedy = "write 250ms, 30s, 5m, 2h, 7d or a number of seconds"
            report.add(pointer, Code.INVALID_DURATION, f"{shown(value)} is no duration; {remedy}")
        elif found == 0 and not zero:
            report.add(
                pointer, Code.INVALID_DURATION, "a duration of 0 is not allowed here; leave the field out"
            )

    return check


def items(check: Check, *, least: int = 0, most: int = 1_000, unique: bool = False) -> Check:
    """A list whose items pass a check."""

    def check_list(report: Report, pointer: str, value: Any) -> None:
        if not is_a(report, pointer, value, list):
            return
        if not least <= len(value) <= most:
            message = f"there are {len(value)} items; {least} to {most} are allowed"
            report.add(pointer, Code.INVALID_VALUE, message)
            return
        seen: list[Any] = []
        for no, item in enumerate(value):
            check(report, child(pointer, no), item)
            if unique and item in seen:
                report.add(child(pointer, no), Code.INVALID_VALUE, f"{shown(item)} is there twice; keep one")
            seen.append(item)

    return check_list


def entries(keys: str, remedy: str, check: Check) -> Check:
    """An object of free keys of a pattern, whose values pass a check."""
    compiled = re.compile(keys)

    def check_entries(report: Report, pointer: str, value: Any) -> None:
        if not is_a(report, pointer, value, dict):
            return
        for key, inner in value.items():
            if compiled.fullmatch(key) is None:
                message = f"{shown(key)} is not allowed as a key; {remedy}"
                report.add(child(pointer, key), Code.INVALID_NAME, message)
            check(report, child(pointer, key), inner)

    return check_entries


def fields(known: Mapping[str, Check], required: Collection[str] = (), *, what: str) -> Check:
    """An object of known fields."""

    def check(report: Report, pointer: str, value: Any) -> None:
        if is_a(report, pointer, value, dict):
            take_fields(report, pointer, value, known, required, what=what)

    return check


def take_fields(
    report: Report,
    pointer: str,
    value: Mapping[str, Any],
    known: Mapping[str, Check],
    required: Collection[str] = (),
    *,
    what: str,
) -> set[str]:
    """Check an object's fields: unknown ones, missing ones, and each known one by its check.

    Returns the known fields that unknown ones were probably meant to be.
    """
    meant = check_unknown(report, pointer, value, known, what=what)
    for key in required:
        # A misspelt field is one mistake: it is not reported as missing too.
        if key not in value and key not in meant:
            report.add(child(pointer, key), Code.MISSING_FIELD, f"{what} needs the field {key}; add it")
    for key, inner in value.items():
        if key in known:
            known[key](report, child(pointer, key), inner)
    return meant


def check_unknown(
    report: Report, pointer: str, value: Iterable[str], known: Collection[str], *, what: str
) -> set[str]:
    """Report the fields that are not known; returns the known ones that were probably meant."""
    meant: set[str] = set()
    for key in value:
        if key in known:
            continue
        found = report.closest(key, known)
        remedy = f'did you mean "{found}"?' if found is not None else f"known are {listed(sorted(known), 40)}"
        report.add(child(pointer, key), Code.UNKNOWN_FIELD, f"{shown(key)} is no field of {what}; {remedy}")
        if found is not None:
            meant.add(found)
    return meant
