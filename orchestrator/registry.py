"""Names to code: built-in node types and those of plug-ins, through one loader."""

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from orchestrator.core.nodetype import NodeType
from orchestrator.ports import NodeHandler, Parts

GROUP = "orchestrator.handlers"
BUILT_IN = {
    "agent": "orchestrator.handlers.agent:AgentHandler",
    "celery": "orchestrator.handlers.celery:CeleryHandler",
    "condition": "orchestrator.handlers.condition:ConditionHandler",
    "http": "orchestrator.handlers.http:HttpHandler",
    "loop": "orchestrator.handlers.loop:LoopHandler",
    "noop": "orchestrator.handlers.noop:NoopHandler",
    "parallel": "orchestrator.handlers.parallel:ParallelHandler",
    "router": "orchestrator.handlers.router:RouterHandler",
    "set": "orchestrator.handlers.set:SetHandler",
    "subworkflow": "orchestrator.handlers.subworkflow:SubworkflowHandler",
    "transform": "orchestrator.handlers.transform:TransformHandler",
}


def _load(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def handler_classes() -> dict[str, type[NodeHandler]]:
    """Every node type's handler class, by type. A plug-in can add a type, never replace a built-in one."""
    found = {name: _load(target) for name, target in BUILT_IN.items()}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, point.load())
    return found


def node_types() -> dict[str, NodeType]:
    """What each node type says of itself, by type."""
    return {name: handler.TYPE for name, handler in handler_classes().items()}


def make_handlers(parts: Parts) -> Mapping[str, NodeHandler]:
    """One handler of each type for this process."""
    return {name: handler(parts) for name, handler in handler_classes().items()}  # type: ignore[call-arg]
