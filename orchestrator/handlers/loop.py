"""The `loop` node: its body, one iteration after the other. Source: spec "definition", Node types.

The engine runs it (orchestrator/services/containers.py); a container has no body of code.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from models.errors import ErrorCode
from orchestrator.core.branching import LoopMode, may_be_count, may_be_items
from orchestrator.core.nodetype import Field, FieldKind, NodeType
from orchestrator.core.outcome import Failed, Outcome, StepError
from orchestrator.ports import Parts, StepContext

_NEEDS = {
    LoopMode.FOR: ("count",),
    LoopMode.FOR_EACH: ("items",),
    LoopMode.WHILE: ("condition", "max_iterations"),
    LoopMode.DO_WHILE: ("condition", "max_iterations"),
}


def _needs(raw: Mapping[str, Any]) -> tuple[str, ...]:
    mode = raw.get("mode")
    return _NEEDS[LoopMode(mode)] if isinstance(mode, str) and mode in set(LoopMode) else ()


def _mistakes(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    mode = LoopMode(raw["mode"])
    for key in ("count", "items", "condition"):
        if key in raw and key not in _NEEDS[mode]:
            yield f"/{key}", f"a loop of mode {mode} takes no {key}; remove it, or choose another mode"
    if raw.get("max_iterations", 1) < 1:
        yield "/max_iterations", "max_iterations must be 1 or more"
    if not may_be_count(raw.get("count", 0)):
        yield "/count", "count must be a whole number from 0 on, or one {{…}}"
    if not may_be_items(raw.get("items", [])):
        yield "/items", "items must be a list, or one {{…}}"


class LoopHandler:
    """Output: `{results, count, failed}`."""

    TYPE: ClassVar[NodeType] = NodeType(
        type="loop",
        fields=(
            Field(name="mode", kind=FieldKind.NAME, required=True, choices=tuple(LoopMode)),
            Field(name="count", kind=FieldKind.VALUE, stored=True),
            Field(name="items", kind=FieldKind.VALUE, stored=True),
            Field(name="condition", kind=FieldKind.BODY_EXPRESSION),
            Field(name="max_iterations", kind=FieldKind.INTEGER),
            Field(name="body", kind=FieldKind.BODY, required=True),
            Field(name="collect", kind=FieldKind.BODY_VALUE),
        ),
        needs=_needs,
        mistakes=_mistakes,
        inline=True,
        container=True,
        queue="control",
        shape=("[\\", "/]"),
    )

    def __init__(self, parts: Parts) -> None:
        """Needs no part."""

    def execute(self, ctx: StepContext) -> Outcome:
        """Never asked by the engine."""
        return Failed(error=StepError.of(ErrorCode.INTERNAL, f"a {ctx.type} is run by the engine"))
