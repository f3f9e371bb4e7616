"""How a container runs its body: how many branches, when the next one starts, when it has ended.

Pure; the container's counters are a row. Source: spec "definition", Node types and Outputs; spec "engine",
Containers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from models.errors import ErrorCode
from orchestrator.core import templates
from orchestrator.core.outcome import StepError
from orchestrator.core.plan import PlanNode

WINDOW = 1_000
_PERCENT = re.compile(r"(100|[0-9]{1,2})%")


class LoopMode(StrEnum):
    """How a loop goes on."""

    FOR = "for"
    FOR_EACH = "for_each"
    WHILE = "while"
    DO_WHILE = "do_while"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a container starts with. `total` None: as long as its condition holds. `items`: one a branch."""

    total: int | None
    items: list[Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """A container's row: how many branches it will have (None: unknown), has opened, has ended, have failed."""

    total: int | None
    opened: int
    ended: int
    failed: int


class RefusedError(Exception):
    """A container's `count` or `items` cannot be used; `error` says why."""

    def __init__(self, error: StepError) -> None:
        super().__init__(error.message)
        self.error = error


def is_loop(node: PlanNode) -> bool:
    """Whether a container runs its branches one after the other."""
    return node.type == "loop"


def asks_before(node: PlanNode) -> bool:
    """Whether a loop's condition is asked before its first iteration too."""
    return node.fields.get("mode") == LoopMode.WHILE


def has_condition(node: PlanNode) -> bool:
    """Whether a loop goes on as long as its condition holds."""
    return node.fields.get("mode") in (LoopMode.WHILE, LoopMode.DO_WHILE)


def opening(node: PlanNode, fields: Mapping[str, Any], max_items: int) -> Opening:
    """What `count` or `items`, resolved, make of a container. Raises RefusedError."""
    if has_condition(node):
        return Opening(total=None)
    if "items" in fields:
        items = _items(fields["items"], max_items)
        total = len(items)
    else:
        items, total = None, _count(fields.get("count"), max_items)
    most = fields.get("max_iterations")
    if most is not None and total > most:
        raise _refused(
            ErrorCode.LOOP_LIMIT, f"{total} iterations are wanted, max_iterations is {most}; raise it"
        )
    return Opening(total=total, items=items)


def _items(value: Any, max_items: int) -> list[Any]:
    if not isinstance(value, list):
        raise _refused(
            ErrorCode.VALIDATION, f"items must be a list, not {type(value).__name__}; name a list"
        )
    _bound(len(value), max_items)
    return value


def _count(value: Any, max_items: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _refused(
            ErrorCode.VALIDATION, f"count must be a whole number from 0 on, not {str(value)[:100]!r}"
        )
    _bound(value, max_items)
    return value


def _bound(found: int, max_items: int) -> None:
    if found > max_items:
        message = f"{found} branches are wanted, {max_items} are allowed (ORCHESTRATOR_MAX_ITEMS)"
        raise _refused(ErrorCode.VALIDATION, message)


def _refused(code: ErrorCode, message: str) -> RefusedError:
    return RefusedError(StepError.of(code, message, transient=False))


def most_at_once(node: PlanNode, *, most: int = WINDOW) -> int:
    """How many branches may be open at a time."""
    return 1 if is_loop(node) else min(node.fields.get("max_concurrency") or most, most)


def window(node: PlanNode, counters: Counters, *, most: int = WINDOW) -> int:
    """How many branches may start now."""
    room = most_at_once(node, most=most) - (counters.opened - counters.ended)
    left = room if counters.total is None else min(room, counters.total - counters.opened)
    return max(0, left)


def tolerates(node: PlanNode, counters: Counters) -> bool:
    """Whether a container goes on with as many failed branches as it has."""
    if counters.failed == 0:
        return True
    if is_loop(node):
        return False
    given = node.fields.get("tolerate_failures")
    if given is not None:
        return counters.failed <= tolerated(given, counters.total or 0)
    return bool(node.fields.get("on_error") == "collect")


def tolerated(given: int | str, total: int) -> int:
    """How many branches may fail: a number, or a percentage of all."""
    if isinstance(given, int):
        return given
    found = _PERCENT.fullmatch(given)
    assert found is not None
    return total * int(found.group(1)) // 100


def may_be_tolerated(given: Any) -> bool:
    """Whether a definition may say so."""
    if isinstance(given, str):
        return _PERCENT.fullmatch(given) is not None
    return isinstance(given, int) and not isinstance(given, bool) and given >= 0


def may_be_count(given: Any) -> bool:
    """Whether a definition may say so many branches: a number from 0 on, or one reference."""
    if isinstance(given, str):
        return _is_reference(given)
    return isinstance(given, int) and not isinstance(given, bool) and given >= 0


def may_be_items(given: Any) -> bool:
    """Whether a definition may name such items: a list, or one reference."""
    return isinstance(given, list) or (isinstance(given, str) and _is_reference(given))


def _is_reference(text: str) -> bool:
    """Whether a string is just one {{…}}, so that it keeps its value's type."""
    parts = templates.parse(text)
    return len(parts) == 1 and not isinstance(parts[0], str)


def limit_reached(node: PlanNode, counters: Counters) -> StepError | None:
    """The failure of a loop whose condition still holds after `max_iterations`."""
    most = node.fields["max_iterations"]
    if counters.ended < most:
        return None
    message = f"the condition still holds after {most} iterations; raise max_iterations or mend the condition"
    return StepError.of(ErrorCode.LOOP_LIMIT, message)
