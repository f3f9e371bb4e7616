"""Where an attempt's work goes: to an agent that is available, decided and written down in one short transaction.

Where a limit or a choice is involved the transaction holds the workspace's lock of agents, so that two steps do not
both take the last place. A named agent without limits takes none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from models.queries import lanes as queries
from models.queries import routing, work
from orchestrator.bridge import Endpoint, Sent
from orchestrator.core import agent_keys
from orchestrator.core.lanes import Kind, Lane
from orchestrator.core.outcome import Waiting
from orchestrator.core.routing import UNHEALTHY, Candidate, Chosen, Offered, Refused, Wanted, choose, demand
from orchestrator.ports import StepContext
from orchestrator.services import gateways

if TYPE_CHECKING:
    from orchestrator.services.deps import Deps

LOCK = "agents"


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """Where an attempt goes, as it is written down. agent: its name; place: the gateway's, both for people."""

    endpoint: Endpoint
    sent: Sent
    agent: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An attempt that wants an agent, and the session that it wants it for."""

    ctx: StepContext
    wanted: Wanted
    session: str


def route(deps: "Deps", asked: Asked) -> Routed | Waiting | None:
    """Choose and write it down. Waiting: nobody is available; None: the attempt is no longer ours."""
    with deps.db.transaction() as session:
        found = _choose(session, asked)
        if found is None:
            return _unregistered(deps, session, asked)
        match found:
            case Chosen(agent=agent):
                return _to(deps, session, asked, agent)
            case Offered(agent_id=agent_id):
                return _offered(session, asked, agent_id)
            case Refused(reason=reason, wanted=wanted):
                return waits(asked.ctx.workspace_id, wanted, reason)


def waits(workspace_id: str, wanted: Wanted, reason: str, *, offered: bool = False) -> Waiting:
    """A step that waits for an agent: in the lane of its demand, to be executed again in its turn."""
    said = reason if offered else f"AGENT_UNAVAILABLE: {reason}"
    return Waiting(reason=said, lane=lane_of(workspace_id, wanted, offered=offered))


def lane_of(workspace_id: str, wanted: Wanted, *, offered: bool = False) -> Lane:
    """Where steps wait that want the same."""
    return Lane(workspace_id=workspace_id, kind=Kind.AGENT, name=demand(wanted, offered=offered))


def lock(session: Session, workspace_id: str) -> None:
    """Until the transaction's end nobody else chooses among the workspace's agents."""
    queries.wait(session, f"{workspace_id}/{LOCK}")


def loaded(
    session: Session, rows: Sequence[Mapping[str, Any]], ctx: StepContext | None = None
) -> list[Candidate]:
    """Agents with what they have to do, but for the step of `ctx`."""
    ids = [row["id"] for row in rows]
    rated = [row["id"] for row in rows if row["rate_limit"] is not None]
    own = ("00000000-0000-0000-0000-000000000000", -1) if ctx is None else (ctx.run_id, ctx.no)
    live = routing.live(session, ids, *own) if ids else {}
    begun = routing.begun(session, rated) if rated else {}
    return [_candidate(row, live.get(row["id"], 0), begun.get(row["id"], 0)) for row in rows]


def _candidate(row: Mapping[str, Any], live: int = 0, begun: int = 0) -> Candidate:
    return Candidate(**{**row, "capabilities": tuple(row["capabilities"])}, live=live, begun=begun)


def _choose(session: Session, asked: Asked) -> Chosen | Offered | Refused | None:
    """None: the agent is named and not registered."""
    ctx, wanted = asked.ctx, asked.wanted
    rows = routing.agents(session, ctx.workspace_id, name=wanted.agent)
    if wanted.agent is not None and not rows:
        return None
    plain = [_candidate(row) for row in rows]
    if wanted.agent is not None and not plain[0].limited:
        return choose(wanted, plain)
    lock(session, ctx.workspace_id)
    sticky = _kept(session, asked)
    candidates = loaded(session, rows, ctx)
    found = choose(wanted, candidates, sticky)
    if isinstance(found, Chosen) and wanted.agent is None and asked.session != "attempt":
        routing.stick(session, ctx.run_id, asked.session, found.agent.id)
    return found


def _kept(session: Session, asked: Asked) -> str | None:
    if asked.wanted.agent is not None or asked.session == "attempt":
        return None
    return routing.sticky(session, asked.ctx.run_id, asked.session)


def _to(deps: "Deps", session: Session, asked: Asked, agent: Candidate) -> Routed | Waiting | None:
    assert agent.gateway_id is not None
    there = agent_keys.agent_id(agent.name, agent.session_key)
    return _write(
        deps, session, asked, agent.gateway_id, there, agent.id, agent.name, agent.gateway_name or ""
    )


def _unregistered(deps: "Deps", session: Session, asked: Asked) -> Routed | Waiting | None:
    """An agent that is not in the registry: the workspace's default gateway may know it by its name."""
    name, workspace_id = asked.wanted.agent, asked.ctx.workspace_id
    assert name is not None
    gateway_id = gateways.default(deps, session, workspace_id)
    row = None if gateway_id is None else routing.gateway(session, gateway_id)
    if row is None:
        reason = f"agent {name} is not registered, and the workspace has no gateway that could know it"
        return waits(workspace_id, asked.wanted, reason)
    if row.status == UNHEALTHY:
        return waits(workspace_id, asked.wanted, f"the gateway {row.name} is unhealthy")
    return _write(deps, session, asked, row.id, name, None, name, row.name)


def _write(
    deps: "Deps",
    session: Session,
    asked: Asked,
    gateway_id: str,
    there: str,
    agent_id: str | None,
    name: str,
    place: str,
) -> Routed | Waiting | None:
    ctx = asked.ctx
    endpoint = gateways.endpoint(deps, session, gateway_id)
    if endpoint is None:
        return waits(ctx.workspace_id, asked.wanted, f"the gateway {place} of agent {name} was removed")
    sent = Sent(
        agent=there,
        session_key=agent_keys.session_key(ctx.run_id, ctx.path, ctx.attempt, asked.session, there),
        key=agent_keys.attempt_key(ctx.workspace_id, ctx.run_id, ctx.idempotency_key, ctx.attempt),
    )
    where = assignment(gateway_id, sent)
    written = routing.assign(
        session, ctx.run_id, ctx.no, ctx.attempt, agent_id=agent_id, agent=name, assigned=where
    )
    return Routed(endpoint=endpoint, sent=sent, agent=name, place=place) if written else None


def assignment(gateway_id: str, sent: Sent) -> dict[str, str]:
    """Where work was sent, as an attempt's row keeps it."""
    return {
        "gateway_id": gateway_id,
        "agent": sent.agent,
        "session_key": sent.session_key,
        "key": sent.key,
    }


def sent_of(assigned: Mapping[str, str]) -> Sent:
    """The inverse of `assignment`, but for the gateway."""
    return Sent(agent=assigned["agent"], session_key=assigned["session_key"], key=assigned["key"])


def _offered(session: Session, asked: Asked, agent_id: str | None) -> Waiting:
    """No agent at a gateway has time; one that claims its work may take it, or whoever is free first."""
    ctx, wanted = asked.ctx, asked.wanted
    work.offer(
        session,
        run_id=ctx.run_id,
        no=ctx.no,
        attempt=ctx.attempt,
        workspace_id=ctx.workspace_id,
        agent_id=agent_id,
        role=wanted.role,
        capabilities=wanted.capabilities,
        rank=ctx.rank,
    )
    return waits(ctx.workspace_id, wanted, f"an agent to claim it: {wanted}", offered=True)
