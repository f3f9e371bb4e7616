"""The `subworkflow` node: another workflow as one step. Source: spec "definition", Node types and Outputs."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from models.base import uuid7
from models.errors import ErrorCode
from orchestrator.core.nodetype import Field, FieldKind, NodeType
from orchestrator.core.outcome import Call, Failed, Outcome, StepError, Usage, Waiting
from orchestrator.ports import Parts, StepContext


def _mistakes(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if raw.get("version", 1) < 1:
        yield "/version", "versions count from 1; write the number of one, or leave it out for the latest"


class SubworkflowHandler:
    """Output: the called run's outputs, or {run_id} where it does not wait for them."""

    TYPE: ClassVar[NodeType] = NodeType(
        type="subworkflow",
        fields=(
            Field(name="workflow", kind=FieldKind.NAME, required=True),
            Field(name="version", kind=FieldKind.INTEGER),
            Field(name="inputs", kind=FieldKind.OBJECT, stored=True),
            Field(name="wait", kind=FieldKind.BOOLEAN),
        ),
        calls=True,
        shape=("[[", "]]"),
        mistakes=_mistakes,
    )

    def __init__(self, parts: Parts) -> None:
        """Needs no part: the engine creates the run."""

    def execute(self, ctx: StepContext) -> Outcome:
        """Parks; the run is created under the id that is given here, and its end completes the step."""
        inputs: Any = ctx.fields.get("inputs", ctx.input)
        if not isinstance(inputs, dict):
            message = f"inputs must be an object, not {type(inputs).__name__}"
            error = StepError.of(ErrorCode.VALIDATION, message)
            return Failed(error=error, usage=Usage(cost_microcents=0))
        run_id = uuid7()
        return Waiting(
            reason=f"run {run_id}",
            call=Call(
                run_id=run_id,
                workflow=ctx.fields["workflow"],
                version=ctx.fields.get("version"),
                inputs=inputs,
                wait=ctx.fields.get("wait", True),
            ),
        )
