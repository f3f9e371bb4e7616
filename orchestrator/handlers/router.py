"""The `router` node: the first case that holds, else the default. Source: spec "definition", Node types."""

from collections.abc import Mapping
from typing import Any, ClassVar

from models.errors import ErrorCode
from orchestrator.core.conditions import ConditionError
from orchestrator.core.nodetype import Field, FieldKind, NodeType
from orchestrator.core.outcome import Failed, Outcome, StepError, Succeeded
from orchestrator.ports import Parts, StepContext


def _routes(fields: Mapping[str, Any]) -> tuple[str, ...]:
    default = fields.get("default")
    routes = [case["route"] for case in fields["cases"]]
    return tuple(dict.fromkeys(routes if default is None else [*routes, default]))


class RouterHandler:
    """Output: its input; the choice is the route, if any."""

    TYPE: ClassVar[NodeType] = NodeType(
        type="router",
        fields=(
            Field(name="cases", kind=FieldKind.CASES, required=True),
            Field(name="default", kind=FieldKind.NAME),
        ),
        inline=True,
        passes=True,
        shape=("{{", "}}"),
        routes=_routes,
    )

    def __init__(self, parts: Parts) -> None:
        """Needs no part."""

    def execute(self, ctx: StepContext) -> Outcome:
        """Selects no route when no case holds and there is no default: of its edges `else` lives then."""
        try:
            route = self._choose(ctx)
        except ConditionError as error:
            return Failed(error=StepError.of(ErrorCode(error.code), str(error)))
        return Succeeded(output=ctx.input, route=route)

    def _choose(self, ctx: StepContext) -> str | None:
        for case in ctx.fields["cases"]:
            held = ctx.evaluate(case["when"])
            if not isinstance(held, bool):
                raise ConditionError(
                    f"the case {case['route']!r} gave {type(held).__name__}, neither true nor false; "
                    "compare it with something"
                )
            if held:
                return str(case["route"])
        default = ctx.fields.get("default")
        return None if default is None else str(default)
