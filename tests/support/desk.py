"""A gateway in memory behind the real port, and agents in the registry: what was sent, what came of it."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from models.agent import Agent
from models.base import uuid7
from models.database import Database
from models.errors import UnavailableError
from models.gateway import Gateway
from orchestrator.bridge import Accepted, Dispatch, Endpoint, Pong, Sent, Unsent
from orchestrator.core import agent_answer
from orchestrator.core.outcome import Again, Cancelled, Failed, Succeeded, Usage
from orchestrator.settings import Settings
from tests.support import engine
from tests.support.engine import Engine
from tests.support.probes import NAME, Clock

KIND = "desk"
SETTINGS = Settings(secret_key="a key for tests alone")
Does = Callable[[Dispatch], Succeeded | Failed | None]


def answers(text: str) -> Succeeded:
    return agent_answer.answered(text, Usage(model="m", tokens_in=10, tokens_out=2))


@dataclass(slots=True)
class Work:
    """One run of an agent, as the gateway keeps it; `outcome` None while it goes on."""

    request: Dispatch
    outcome: Succeeded | Failed | None = None


@dataclass(slots=True)
class Desk:
    """`bridge.Gateway` in memory. does: what an agent says at once, None to go on; by default it echoes.

    away: ids of gateways that cannot be reached.
    """

    does: Does = field(default=lambda request: answers(str(request.input)))
    away: set[str] = field(default_factory=set)
    runs: dict[str, Work] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    written: dict[str, Mapping[str, str]] = field(default_factory=dict)
    patience: list[float | None] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def dispatch(
        self, endpoint: Endpoint, request: Dispatch
    ) -> Succeeded | Failed | Cancelled | Accepted | Unsent:
        self.patience.append(request.patience)
        if endpoint.id in self.away:
            return Unsent(reason="connection refused")
        for earlier in (*request.earlier, request.sent):
            known = self.runs.get(earlier.key)
            if known is not None:
                known.request = request
                return known.outcome or Accepted(sent=earlier)
        with self.lock:
            work = self.runs[request.sent.key] = Work(request)
        work.outcome = self.does(request)
        return work.outcome or Accepted(sent=request.sent)

    def look_up(self, endpoint: Endpoint, sent: Sent) -> Succeeded | Failed | Again | None:
        if endpoint.id in self.away:
            raise UnavailableError("connection refused")
        self.asked.append(sent.key)
        work = self.runs.get(sent.key)
        return Again() if work is None else work.outcome

    def stop(self, endpoint: Endpoint, sent: Sent) -> None:
        if endpoint.id in self.away:
            raise UnavailableError("connection refused")
        self.stopped.append(sent.key)

    def ping(self, endpoint: Endpoint, timeout: float) -> Pong:
        if endpoint.id in self.away:
            raise UnavailableError("connection refused")
        return Pong(version="1")

    def provision(self, endpoint: Endpoint, agent: str, files: Mapping[str, str]) -> None:
        if endpoint.id in self.away:
            raise UnavailableError("connection refused")
        self.written[agent] = files

    def close(self) -> None:
        return

    def ends(self, key: str, outcome: Succeeded | Failed, *, tells: bool = True) -> None:
        """An agent comes to an end; whoever dispatched it is told."""
        self.runs[key].outcome = outcome
        tell = self.runs[key].request.ended
        if tells and tell is not None:
            tell(outcome)


@dataclass(slots=True, kw_only=True)
class Office:
    """An engine whose steps work with agents, and what is in its registry."""

    engine: Engine
    desk: Desk

    def gateway(self, name: str = "desk", **values: Any) -> str:
        """A gateway of the workspace; its id."""
        given = {"status": "healthy", "kind": KIND, "is_default": False} | values
        return self._add(Gateway, name=name, **given)

    def agent(self, name: str, gateway_id: str | None = None, **values: Any) -> str:
        """A registered agent; its id."""
        beat = {"heartbeat_at": datetime.now(UTC), "heartbeats": [], "status": "online"}
        given = {"capabilities": [], **beat, **values}
        return self._add(Agent, name=name, gateway_id=gateway_id, **given)

    def change(self, table: type[Agent] | type[Gateway], row_id: str, **values: Any) -> None:
        with self.engine.deps.db.transaction() as session:
            row = session.get_one(table, row_id)
            for name, value in values.items():
                setattr(row, name, value)

    def sweep(self) -> None:
        self.engine.sweep()
        self.engine.drain()

    def _add(self, table: Any, **values: Any) -> str:
        now = datetime.now(UTC)
        row = table(
            id=uuid7(), workspace_id=self.engine.actor.workspace_id, created_at=now, updated_at=now, **values
        )
        with self.engine.deps.db.transaction() as session:
            session.add(row)
        return str(row.id)


def step(node_id: str = "a", **fields: Any) -> dict[str, Any]:
    """An agent node; without a word of it, of agent `ada`."""
    named = {} if {"agent", "role", "capabilities"} & fields.keys() else {"agent": "ada"}
    return {"id": node_id, "type": "agent", **named, **fields}


def office(
    database: Database,
    *nodes: dict[str, Any],
    edges: Any = (),
    does: Does | None = None,
    clock: Clock | None = None,
    settings: Settings = SETTINGS,
    **fields: Any,
) -> Office:
    """An engine with the workflow `w` of these nodes, by default one agent's step; no agent, no gateway."""
    ours = engine.make(database, clock=clock, settings=settings)
    desk = Desk() if does is None else Desk(does=does)
    vars(ours.deps)["gateways"] = {KIND: desk}
    given = nodes or (step(),)
    ours.publish({"name": NAME, "nodes": list(given), "edges": list(edges), **fields})
    return Office(engine=ours, desk=desk)
