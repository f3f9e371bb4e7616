"""The `condition` node: routes `true` or `false`. Source: spec "definition", Node types."""

from typing import ClassVar

from models.errors import ErrorCode
from orchestrator.core.conditions import ConditionError
from orchestrator.core.nodetype import Field, FieldKind, NodeType
from orchestrator.core.outcome import Failed, Outcome, StepError, Succeeded
from orchestrator.ports import Parts, StepContext


class ConditionHandler:
    """Output: its input; the choice is the route."""

    TYPE: ClassVar[NodeType] = NodeType(
        type="condition",
        fields=(Field(name="expression", kind=FieldKind.EXPRESSION, required=True),),
        inline=True,
        passes=True,
        shape=("{", "}"),
        routes=lambda fields: ("true", "false"),  # noqa: ARG005
    )

    def __init__(self, parts: Parts) -> None:
        """Needs no part."""

    def execute(self, ctx: StepContext) -> Outcome:
        """Fails with VALIDATION when the result is neither true nor false."""
        expression = ctx.fields["expression"]
        try:
            held = ctx.evaluate(expression)
        except ConditionError as error:
            return Failed(error=StepError.of(ErrorCode(error.code), str(error)))
        if not isinstance(held, bool):
            message = f"{expression!r} gave {type(held).__name__}, neither true nor false; compare it with something"
            return Failed(error=StepError.of(ErrorCode.VALIDATION, message))
        return Succeeded(output=ctx.input, route="true" if held else "false")
