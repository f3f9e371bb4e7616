"""The `emit` node: publishes an event of the workflow's own. Source: spec "definition", Node types."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from models.errors import ErrorCode
from orchestrator.core import event_types
from orchestrator.core.nodetype import Field, FieldKind, NodeType
from orchestrator.core.outcome import Emitted, Failed, Outcome, StepError, Succeeded
from orchestrator.ports import Parts, StepContext


def _mistakes(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    wrong = event_types.own_problem(fields["event"])
    if wrong is not None:
        yield "/event", wrong


class EmitHandler:
    """Output: `{event, data}`. The event is written in the transaction that completes the step, so exactly once."""

    TYPE: ClassVar[NodeType] = NodeType(
        type="emit",
        fields=(
            Field(name="event", kind=FieldKind.NAME, required=True),
            Field(name="data", kind=FieldKind.VALUE, stored=True),
        ),
        inline=True,
        mistakes=_mistakes,
        shape=("@{ shape: flag, label: ", " }"),
    )

    def __init__(self, parts: Parts) -> None:
        """Needs no part."""

    def execute(self, ctx: StepContext) -> Outcome:
        """Succeeds with the event to be written; `data` is the step's input where the node gives none."""
        event, data = ctx.fields["event"], ctx.fields.get("data", ctx.input)
        wrong = event_types.own_problem(event) if isinstance(event, str) else f"{event!r:.100} is no name of an event"
        if wrong is not None:
            return Failed(error=StepError.of(ErrorCode.VALIDATION, wrong))
        return Succeeded(output={"event": event, "data": data}, emits=(Emitted(type=event, data=data),))
