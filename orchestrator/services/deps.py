"""What a process is built of, made once and passed along: no globals, no engine at import."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial

from models.database import Database
from orchestrator import registry
from orchestrator.bridge import Gateway, GatewayParts
from orchestrator.bus import BusParts, EventBus
from orchestrator.core.document import Limits
from orchestrator.core.nodetype import NodeType
from orchestrator.drivers.outbound import GuardedOutbound
from orchestrator.drivers.prices import PriceTable
from orchestrator.ports import (
    Clock,
    ForeignTasks,
    NodeHandler,
    NoForeignTasks,
    Outbound,
    Parts,
    Prices,
)
from orchestrator.services import clock as clocks
from orchestrator.services import data, dispatching, gateways, pricing, vault
from orchestrator.services.known_runs import KnownRuns
from orchestrator.services.paces import Paces
from orchestrator.services.people import Desk
from orchestrator.services.plans import PlanCache
from orchestrator.services.streaming import Chunks
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
    outbound: Outbound
    process: str
    foreign: ForeignTasks = field(default_factory=NoForeignTasks)
    windows: Windows = field(default_factory=Windows)
    paces: Paces = field(default_factory=Paces)

    @cached_property
    def runs(self) -> KnownRuns:
        """What never changes of the runs that this process worked on last."""
        return KnownRuns(self.db)

    @cached_property
    def gateways(self) -> Mapping[str, Gateway]:
        """The drivers of gateways by kind, made when first used."""
        return registry.make_gateways(
            GatewayParts(
                settings=self.settings,
                outbound=self.outbound,
                device_seed=vault.device_seed(self.settings),
                paired=partial(gateways.paired, self),
            )
        )

    @cached_property
    def agents(self) -> dispatching.Dispatcher:
        """The agents of all workspaces, as steps reach them."""
        return dispatching.Dispatcher(self)

    @cached_property
    def bus(self) -> EventBus | None:
        """The event bus, None where it is off."""
        url = self.settings.bus
        return None if url is None else registry.make_bus(BusParts(settings=self.settings, url=url))

    @cached_property
    def chunks(self) -> Chunks:
        """The writer of what this process's steps stream."""
        return Chunks(self.db, lambda: data.environment(self.settings).values())

    @cached_property
    def prices(self) -> Prices:
        """What models cost by the table that is installed."""
        return PriceTable()

    @cached_property
    def own_prices(self) -> pricing.OwnPrices:
        """The prices that workspaces set themselves."""
        return pricing.OwnPrices(self.db)

    @cached_property
    def handlers(self) -> Mapping[str, NodeHandler]:
        parts = Parts(
            settings=self.settings,
            agents=self.agents,
            outbound=self.outbound,
            foreign=self.foreign,
            people=Desk(db=self.db, clock=self.clock),
            clock=self.clock,
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
        if "agents" in self.__dict__:
            self.agents.close()
        if "gateways" in self.__dict__:  # none was made where none was used
            for driver in self.gateways.values():
                driver.close()
        if "chunks" in self.__dict__:
            self.chunks.close()
        if self.__dict__.get("bus") is not None:
            self.__dict__["bus"].close()
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
        outbound=GuardedOutbound(settings.http_allow),
        process=f"{socket.gethostname()}:{os.getpid()}",
        foreign=foreign or NoForeignTasks(),
    )
