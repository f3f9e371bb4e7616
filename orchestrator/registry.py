"""Names to code: built-in node types, drivers of gateways and buses, and those of plug-ins, through one loader."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import urlsplit

from models.errors import SettingsError
from orchestrator.bridge import Gateway, GatewayParts
from orchestrator.bus import BusParts, EventBus
from orchestrator.core.nodetype import NodeType
from orchestrator.ports import NodeHandler, Parts
from orchestrator.setting_values import BUSES_GROUP

GROUP = "orchestrator.handlers"
GATEWAYS_GROUP = "orchestrator.gateways"
BUILT_IN_GATEWAYS = {
    "openclaw": "orchestrator.drivers.openclaw:OpenClawGateway",
    "local": "orchestrator.drivers.gateway_local:LocalGateway",
    "http": "orchestrator.drivers.gateway_http:HttpGateway",
}
BUILT_IN_BUSES = {
    "redis": "orchestrator.drivers.bus_redis:RedisBus",
    "rediss": "orchestrator.drivers.bus_redis:RedisBus",
    "redis+socket": "orchestrator.drivers.bus_redis:RedisBus",
    "nats": "orchestrator.drivers.bus_nats:NatsBus",
    "amqp": "orchestrator.drivers.bus_rabbitmq:RabbitBus",
    "amqps": "orchestrator.drivers.bus_rabbitmq:RabbitBus",
    "memory": "orchestrator.drivers.bus_memory:MemoryBus",
}
BUILT_IN = {
    "agent": "orchestrator.handlers.agent:AgentHandler",
    "approval": "orchestrator.handlers.approval:ApprovalHandler",
    "celery": "orchestrator.handlers.celery:CeleryHandler",
    "condition": "orchestrator.handlers.condition:ConditionHandler",
    "emit": "orchestrator.handlers.emit:EmitHandler",
    "http": "orchestrator.handlers.http:HttpHandler",
    "loop": "orchestrator.handlers.loop:LoopHandler",
    "noop": "orchestrator.handlers.noop:NoopHandler",
    "parallel": "orchestrator.handlers.parallel:ParallelHandler",
    "pause": "orchestrator.handlers.pause:PauseHandler",
    "router": "orchestrator.handlers.router:RouterHandler",
    "set": "orchestrator.handlers.set:SetHandler",
    "signal": "orchestrator.handlers.signal:SignalHandler",
    "subworkflow": "orchestrator.handlers.subworkflow:SubworkflowHandler",
    "transform": "orchestrator.handlers.transform:TransformHandler",
    "wait": "orchestrator.handlers.wait:WaitHandler",
}


def _load(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


@cache
def handler_classes() -> Mapping[str, type[NodeHandler]]:
    """Every node type's handler class, by type, looked up once a process.

    A plug-in can add a type, never replace a built-in one.
    """
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


def gateway_classes() -> dict[str, type[Gateway]]:
    """Every gateway driver's class, by kind. A plug-in can add a kind, never replace a built-in one."""
    found = {kind: _load(target) for kind, target in BUILT_IN_GATEWAYS.items()}
    for point in entry_points(group=GATEWAYS_GROUP):
        found.setdefault(point.name, point.load())
    return found


def gateway_kinds() -> tuple[str, ...]:
    """The kinds of gateways that there are drivers for; loads none."""
    return (*BUILT_IN_GATEWAYS, *sorted({point.name for point in entry_points(group=GATEWAYS_GROUP)}))


def make_gateways(parts: GatewayParts) -> Mapping[str, Gateway]:
    """One driver of each kind for this process."""
    return {kind: driver(parts) for kind, driver in gateway_classes().items()}  # type: ignore[call-arg]


def make_bus(parts: BusParts) -> EventBus:
    """The driver of the event bus at a URL. A plug-in can add a scheme, never replace a built-in one.

    Raises SettingsError where the driver, or a library that it needs, is not installed.
    """
    scheme = urlsplit(parts.url).scheme
    try:
        if scheme in BUILT_IN_BUSES:
            return _load(BUILT_IN_BUSES[scheme])(parts)  # type: ignore[no-any-return]
        for point in entry_points(group=BUSES_GROUP, name=scheme):
            return point.load()(parts)  # type: ignore[no-any-return]
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"the event bus at {scheme}:// needs the Python module {error.name!r}, which is not installed; "
            f"for NATS: pip install 'celery-orchestrator[nats]'"
        ) from error
    raise SettingsError(f"there is no driver for an event bus at {scheme}://; install its plug-in, or set another URL")
