"""The `parallel` node: branches of its body, side by side. Source: spec "definition", Node types.

The engine runs it (orchestrator/services/containers.py); a container has no body of code.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from models.errors import ErrorCode
from orchestrator.core.branching import may_be_count, may_be_items, may_be_tolerated
from orchestrator.core.nodetype import Field, FieldKind, NodeType
from orchestrator.core.outcome import Failed, Outcome, StepError
from orchestrator.ports import Parts, StepContext


def _mistakes(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "count" in raw and "items" in raw:
        yield "/items", "count and items exclude each other; keep one of the two"
    if not may_be_count(raw.get("count", 0)):
        yield "/count", "count must be a whole number from 0 on, or one {{…}}"
    if not may_be_items(raw.get("items", [])):
        yield "/items", "items must be a list, or one {{…}}"
    if raw.get("max_concurrency", 1) < 1:
        yield "/max_concurrency", "max_concurrency must be 1 or more"
    if not may_be_tolerated(raw.get("tolerate_failures", 0)):
        yield "/tolerate_failures", 'tolerate_failures must be a number from 0 on, or a percentage like "10%"'


class ParallelHandler:
    """Output: `{results, count, failed}`, results in the order of the items."""

    TYPE: ClassVar[NodeType] = NodeType(
        type="parallel",
        fields=(
            Field(name="count", kind=FieldKind.VALUE, stored=True),
            Field(name="items", kind=FieldKind.VALUE, stored=True),
            Field(name="max_concurrency", kind=FieldKind.INTEGER),
            Field(name="body", kind=FieldKind.BODY, required=True),
            Field(name="collect", kind=FieldKind.BODY_VALUE),
            Field(name="on_error", kind=FieldKind.NAME, choices=("fail_fast", "collect")),
            Field(name="tolerate_failures", kind=FieldKind.VALUE),
        ),
        one_of=(("count", "items"),),
        mistakes=_mistakes,
        inline=True,
        container=True,
        queue="control",
        shape=("[/", "\\]"),
    )

    def __init__(self, parts: Parts) -> None:
        """Needs no part."""

    def execute(self, ctx: StepContext) -> Outcome:
        """Never asked by the engine."""
        return Failed(error=StepError.of(ErrorCode.INTERNAL, f"a {ctx.type} is run by the engine"))
