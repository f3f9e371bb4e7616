"""A method for each node type. The fields of all nodes are keyword arguments of each. Source: spec "definition"."""

from collections.abc import Mapping
from typing import Any, TypeVar, Unpack

from orchestrator.builder.fields import Common
from orchestrator.builder.nodes import Body, Choice, Condition, Container, Node
from orchestrator.builder.own_fields import (
    AgentFields,
    ApprovalFields,
    CeleryFields,
    ConditionFields,
    EmitFields,
    HttpFields,
    LoopFields,
    ParallelFields,
    PauseFields,
    RouterFields,
    SetFields,
    SignalFields,
    SubworkflowFields,
    TransformFields,
    WaitFields,
)

_N = TypeVar("_N", bound=Node)


class NodeTypes:
    """Makes nodes in the innermost body that stands open."""

    def __init__(self) -> None:
        self._open = [Body()]

    def agent(self, id: str, **fields: Unpack[AgentFields]) -> Node:
        """One step of work by an agent; output `{text, output, usage, model}`."""
        return self._put(Node, "agent", id, fields)

    def http(self, id: str, **fields: Unpack[HttpFields]) -> Node:
        """One guarded HTTP request; output `{status, headers, body}`."""
        return self._put(Node, "http", id, fields)

    def transform(self, id: str, **fields: Unpack[TransformFields]) -> Node:
        """JSONata over the step's input; output: its value."""
        return self._put(Node, "transform", id, fields)

    def set(self, id: str, **fields: Unpack[SetFields]) -> Node:
        """Writes workflow variables; output: its input."""
        return self._put(Node, "set", id, fields)

    def emit(self, id: str, **fields: Unpack[EmitFields]) -> Node:
        """Publishes an event of your own; output `{event, data}`."""
        return self._put(Node, "emit", id, fields)

    def condition(self, id: str, **fields: Unpack[ConditionFields]) -> Condition:
        """A boolean, for edges of `.true` and `.false`; output: its input."""
        return self._put(Condition, "condition", id, fields)

    def router(self, id: str, **fields: Unpack[RouterFields]) -> Choice:
        """The first case that holds, for edges of `.route(name)`; output: its input."""
        return self._put(Choice, "router", id, fields)

    def noop(self, id: str, **fields: Unpack[Common]) -> Node:
        """A join or a mark; output: its input."""
        return self._put(Node, "noop", id, fields)

    def loop(self, id: str, **fields: Unpack[LoopFields]) -> Container:
        """Iterations of what is made `with` it; output `{results, count, failed}`."""
        return self._contain("loop", id, fields)

    def parallel(self, id: str, **fields: Unpack[ParallelFields]) -> Container:
        """Branches of what is made `with` it; output `{results, count, failed}`."""
        return self._contain("parallel", id, fields)

    def subworkflow(self, id: str, **fields: Unpack[SubworkflowFields]) -> Node:
        """A run of another workflow; output: its outputs."""
        return self._put(Node, "subworkflow", id, fields)

    def celery(self, id: str, **fields: Unpack[CeleryFields]) -> Node:
        """Any Celery task on the same broker; output: its return value."""
        return self._put(Node, "celery", id, fields)

    def wait(self, id: str, **fields: Unpack[WaitFields]) -> Node:
        """A timer; output `{waited}`."""
        return self._put(Node, "wait", id, fields)

    def approval(self, id: str, **fields: Unpack[ApprovalFields]) -> Node:
        """People decide; output `{decision, data, by}`."""
        return self._put(Node, "approval", id, fields)

    def signal(self, id: str, **fields: Unpack[SignalFields]) -> Node:
        """Something outside goes on; output: the data of the signal."""
        return self._put(Node, "signal", id, fields)

    def pause(self, id: str, **fields: Unpack[PauseFields]) -> Node:
        """The whole run waits; output: the input that it is resumed with."""
        return self._put(Node, "pause", id, fields)

    def node(self, type: str, id: str, **fields: Any) -> Choice:
        """A node of any type, such as a plug-in's."""
        return self._put(Choice, type, id, fields)

    def _put(self, kind: type[_N], type_: str, id_: str, fields: Mapping[str, object]) -> _N:
        return kind(self._open[-1], type_, id_, fields)

    def _contain(self, type_: str, id_: str, fields: Mapping[str, object]) -> Container:
        return Container(self._open[-1], type_, id_, fields, self._open)
