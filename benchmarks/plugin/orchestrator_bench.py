"""Node types that are measured with: of work that is done elsewhere too, or that takes its time, or that answers."""

import time
from typing import ClassVar

from benchmarks.work import WORK
from orchestrator.core.nodetype import NodeType
from orchestrator.core.outcome import Outcome, Succeeded
from orchestrator.ports import Parts, StepContext


class _Works:
    """Output: {"at": seconds since 1970 when its body started}."""

    WORK: ClassVar[str] = "nothing"

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def execute(self, ctx: StepContext) -> Outcome:  # noqa: ARG002
        at = time.time()
        WORK[self.WORK]()
        return Succeeded(output={"at": at})


class Tick(_Works):
    """Does nothing, as shipped."""

    TYPE: ClassVar[NodeType] = NodeType(type="tick")


class Call(_Works):
    """Does nothing, and is carried as a call of an agent is: one at a time, never in a batch."""

    TYPE: ClassVar[NodeType] = NodeType(type="call", batches=False)


class Second(_Works):
    """Waits for a second, on its thread."""

    TYPE: ClassVar[NodeType] = NodeType(type="second")
    WORK = "second"


class Light(_Works):
    TYPE: ClassVar[NodeType] = NodeType(type="light")
    WORK = "light"


class Heavy(_Works):
    TYPE: ClassVar[NodeType] = NodeType(type="heavy")
    WORK = "heavy"


class Nap:
    """A step that takes 200 ms."""

    TYPE: ClassVar[NodeType] = NodeType(type="nap")
    SECONDS = 0.2

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def execute(self, ctx: StepContext) -> Outcome:
        ctx.cancelled.wait(self.SECONDS)
        return Succeeded(output={})


class Answer(_Works):
    """Output: half a KiB of text too, about what steps leave behind."""

    TYPE: ClassVar[NodeType] = NodeType(type="answer")

    def execute(self, ctx: StepContext) -> Outcome:  # noqa: ARG002
        return Succeeded(output={"at": time.time(), "text": "so it was found " * 32})
