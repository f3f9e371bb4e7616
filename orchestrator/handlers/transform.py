"""The `transform` node: JSONata over the step's input. Source: spec "definition", Node types."""

from typing import ClassVar

from models.errors import ErrorCode
from orchestrator.core import transforms
from orchestrator.core.nodetype import Field, FieldKind, NodeType
from orchestrator.core.outcome import Failed, Outcome, StepError, Succeeded
from orchestrator.handlers.alarm import DeadlineError, deadline
from orchestrator.ports import Parts, StepContext

SECONDS = 1.0


class TransformHandler:
    """Output: the value of the expression; its root `$` is the step's input.

    Carried by `control`, whose prefork workers run it in their main thread: there a deadline ends it.
    """

    TYPE: ClassVar[NodeType] = NodeType(
        type="transform",
        fields=(Field(name="expression", kind=FieldKind.JSONATA, required=True),),
        queue="control",
        shape=("[\\", "\\]"),
    )

    def __init__(self, parts: Parts) -> None:
        """Needs no part."""

    def execute(self, ctx: StepContext) -> Outcome:
        """Fails with VALIDATION and JSONata's own message, or with TIMEOUT after one second."""
        seconds = ctx.remaining(SECONDS)
        try:
            with deadline(seconds):
                return Succeeded(output=transforms.evaluate(ctx.fields["expression"], ctx.input, seconds))
        except transforms.TransformError as error:
            return Failed(error=StepError.of(ErrorCode(error.code), str(error)))
        except DeadlineError:
            message = f"the transform took more than {seconds:g} s; let it do less, or split it"
            return Failed(error=StepError.of(ErrorCode.TIMEOUT, message))
