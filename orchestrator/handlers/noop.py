"""The `noop` node: a join or a mark. Source: spec "definition", Node types."""

from typing import ClassVar

from orchestrator.core.nodetype import NodeType
from orchestrator.core.outcome import Outcome, Succeeded
from orchestrator.ports import Parts, StepContext


class NoopHandler:
    """Output: its input."""

    TYPE: ClassVar[NodeType] = NodeType(type="noop", inline=True, passes=True, shape=("((", "))"))

    def __init__(self, parts: Parts) -> None:
        """Needs no part."""

    def execute(self, ctx: StepContext) -> Outcome:
        """Succeeds at once."""
        return Succeeded(output=ctx.input)
