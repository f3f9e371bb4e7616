"""A node type that does nothing but say when its body started."""

import time
from typing import ClassVar

from orchestrator.core.nodetype import NodeType
from orchestrator.core.outcome import Outcome, Succeeded
from orchestrator.ports import Parts, StepContext


class Tick:
    """Output: {"at": seconds since 1970}."""

    TYPE: ClassVar[NodeType] = NodeType(type="tick")

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def execute(self, ctx: StepContext) -> Outcome:  # noqa: ARG002
        return Succeeded(output={"at": time.time()})
