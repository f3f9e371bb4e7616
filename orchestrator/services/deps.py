"""What a process is built of, made once and passed along: no globals, no engine at import."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from models.database import Database
from orchestrator import registry
from orchestrator.core.document import Limits
from orchestrator.core.nodetype import NodeType
from orchestrator.drivers.gateways import Gateways
from orchestrator.drivers.outbound import GuardedOutbound
from orchestrator.ports import Clock, ForeignTasks, Gateway, NodeHandler, NoForeignTasks, Outbound, Parts
from orchestrator.services import clock as clocks
from orchestrator.services.plans import PlanCache
from orchestrator.services.windows import Windows
from orchestrator.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Deps:
    """One process's parts. `process` names it in leases and logs; `handlers` are made when first used."""

    settings: Settings
    db: Database
    clock: Clock
    types: Mapping[str, NodeType]
    plans: PlanCache
    gateway: Gateway
    outbound: Outbound
    process: str
    foreign: ForeignTasks = field(default_factory=NoForeignTasks)
    windows: Windows = field(default_factory=Windows)

    @cached_property
    def handlers(self) -> Mapping[str, NodeHandler]:
        parts = Parts(
            settings=self.settings, gateway=self.gateway, outbound=self.outbound, foreign=self.foreign
        )
        return registry.make_handlers(parts)

    @cached_property
    def chords(self) -> bool:
        """Whether fan-in may travel as a chord: the result backend counts its members itself."""
        return self.settings.joins_natively

    def limits(self) -> Limits:
        """The limits that a definition is checked against."""
        settings = self.settings
        return Limits(
            max_body_bytes=settings.max_body_bytes,
            max_nodes=settings.max_nodes,
            max_depth=settings.max_depth,
            max_nesting=settings.max_nesting,
        )

    def close(self) -> None:
        """Close connections; the process ends."""
        self.gateway.close()
        self.outbound.close()
        self.db.close()


def build(settings: Settings, *, pool_size: int = 10, foreign: ForeignTasks | None = None) -> Deps:
    """The parts of this process; `foreign` where it has a broker. Call it after a fork."""
    db = Database(settings.database, pool_size=pool_size)
    return Deps(
        settings=settings,
        db=db,
        clock=clocks.make(settings, db),
        types=registry.node_types(),
        plans=PlanCache(),
        gateway=Gateways(settings),
        outbound=GuardedOutbound(settings.http_allow),
        process=f"{socket.gethostname()}:{os.getpid()}",
        foreign=foreign or NoForeignTasks(),
    )
