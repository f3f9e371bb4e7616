"""Node types: one does nothing but say when its body started, one takes its time."""

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


class Nap:
    """A step that takes 200 ms."""

    TYPE: ClassVar[NodeType] = NodeType(type="nap")
    SECONDS = 0.2

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def execute(self, ctx: StepContext) -> Outcome:
        ctx.cancelled.wait(self.SECONDS)
        return Succeeded(output={})
