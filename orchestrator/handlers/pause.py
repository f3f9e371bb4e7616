"""The `pause` node: the whole run waits for a person. Source: spec "definition", Node types and Outputs."""

from typing import ClassVar

from orchestrator.core.nodetype import Field, FieldKind, NodeType
from orchestrator.core.outcome import Outcome, Paused
from orchestrator.ports import Parts, StepContext


class PauseHandler:
    """Output: the input that the run is resumed with."""

    TYPE: ClassVar[NodeType] = NodeType(
        type="pause",
        fields=(
            Field(name="reason", kind=FieldKind.STRING, stored=True),
            Field(name="expected_input", kind=FieldKind.SCHEMA),
        ),
        people=True,
        shape=("(((", ")))"),
    )

    def __init__(self, parts: Parts) -> None:
        """Needs no part: the engine pauses the run."""

    def execute(self, ctx: StepContext) -> Outcome:
        """Pauses the run; its resume completes the step."""
        reason = ctx.fields.get("reason") or f"step {ctx.path} waits for a person"
        return Paused(reason=str(reason), expected_input=ctx.fields.get("expected_input"))
