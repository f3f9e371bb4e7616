"""The registry: agents enrol, are heard of, change, and leave.

An agent's own key acts for that agent alone; admins act for all. Source: spec "http-api", /api/agents.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from models.agent import Agent
from models.base import uuid7
from models.errors import ConflictError, ForbiddenError, InvalidError, Problem, RateLimitedError
from models.queries import agents, gateways, keys, operational, sweeps
from models.queries.agents import AVAILABLE
from orchestrator.core.effects import Effect
from orchestrator.services import agent_views, auditing, naming, pulling, unserved
from orchestrator.services import keys as tokens
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once

A_MINUTE = 6
MINUTE = 60.0
_COLUMNS = {"heartbeat": "beats"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a write answers, and what is to be sent."""

    answer: dict[str, Any]
    effects: tuple[Effect, ...] = ()


def register(deps: Deps, actor: Actor, body: Mapping[str, Any], once: Once) -> Done:
    """Enrol an agent, or bring a known one up to date: {agent_id, api_key, is_new}.

    Raises InvalidError (name, gateway), ConflictError (the name is another's), ForbiddenError (an agent's key
    enrols no other).
    """
    name = naming.checked(body["name"])
    with deps.db.transaction() as session:
        kept = once.begin(session)
        if kept is None:
            before = _known(session, actor, name)
            kept = _register(session, deps, actor, name, body)
            _record(session, actor, "register", kept["agent_id"], before)
            once.finish(session, kept)
    answer = {"agent_id": kept["agent_id"], "api_key": None, "is_new": kept["is_new"]}
    if kept["nonce"] is not None:
        answer["api_key"] = shown_key(deps, actor, kept)
    return Done(answer=answer, effects=unserved.release(deps, actor.workspace_id))


def _register(
    session: Session, deps: Deps, actor: Actor, name: str, body: Mapping[str, Any]
) -> dict[str, Any]:
    values = _values(session, actor, body)
    known = agents.lock(session, actor.workspace_id, name)
    if known is None:
        agent_id = uuid7()
        added = _add(session, actor, {**values, "id": agent_id, "name": name})
        if added:
            nonce = tokens.issue(
                session, deps.settings, workspace_id=actor.workspace_id, agent_id=agent_id, name=name
            )
            return {"agent_id": agent_id, "is_new": True, "nonce": nonce, "key_id": actor.key_id}
        known = agents.lock(session, actor.workspace_id, name)  # a twin was first
    if known is None or not _is_own(actor, known):
        raise ConflictError(
            f"There is an agent {name!r} already, and it answers to its own key or an admin's alone; "
            "choose another name, or use that agent's key"
        )
    agents.change(session, known.id, values)
    _hear(session, known, {"status": "online"})
    return {"agent_id": known.id, "is_new": False, "nonce": None, "key_id": actor.key_id}


def _known(session: Session, actor: Actor, name: str) -> dict[str, Any] | None:
    row = agents.lock(session, actor.workspace_id, name)
    return None if row is None else agent_views.one(session, actor.workspace_id, row.id)


def _record(session: Session, actor: Actor, act: str, agent_id: str, before: dict[str, Any] | None) -> None:
    after = agent_views.one(session, actor.workspace_id, agent_id)
    auditing.record(session, actor, f"agent.{act}", f"agent:{agent_id}", before=before, after=after)


def _add(session: Session, actor: Actor, values: Mapping[str, Any]) -> bool:
    if actor.agent_id is not None:
        raise ForbiddenError(
            f"The key {actor.name!r} is that of one agent and enrols no other; use a key of scope agent "
            "that an admin made with POST /api/keys"
        )
    own = {**values, "workspace_id": actor.workspace_id, "status": "online"}
    added = agents.add(session, own)
    if added:
        about = {"agent_id": values["id"], "name": values["name"]}
        operational.note(session, "agent.online", [(actor.workspace_id, about)])
    return added


def shown_key(deps: Deps, actor: Actor, kept: Mapping[str, Any]) -> str:
    """The key that a write made, also when it is repeated: to whoever made it, and to admins."""
    if kept["key_id"] != actor.key_id and not actor.may("admin"):
        raise ConflictError("This Idempotency-Key made a key for another caller; send a new one")
    return tokens.token(deps.settings, kept["nonce"])


def heartbeat(deps: Deps, actor: Actor, agent: str, said: Mapping[str, Any], once: Once) -> Done:
    """An agent is there; `said`: {status?, queued_task_count?}. Six a minute over all processes.

    Raises NotFoundError, ForbiddenError, RateLimitedError.
    """
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return Done(answer=kept)
        row = own(session, actor, agent)
        was = row.status
        beats = _beats(row, sweeps.clock(session))
        _hear(session, row, {**said, "heartbeats": beats})
        answer = agent_views.one(session, actor.workspace_id, row.id)
        once.finish(session, answer)
    back = answer["status"] in AVAILABLE and was not in AVAILABLE
    return Done(answer=answer, effects=unserved.release(deps, actor.workspace_id) if back else ())


def _beats(row: Agent, now: float) -> list[float]:
    """The heartbeats of the last minute with this one."""
    last = [at for at in row.heartbeats if now - at < MINUTE]
    if len(last) >= A_MINUTE:
        wait = max(0.0, last[0] + MINUTE - now)
        raise RateLimitedError(
            f"Agent {row.name} has sent its {A_MINUTE} heartbeats of this minute; wait {wait:.1f} s", wait
        )
    return [*last, now]


def _hear(session: Session, row: Agent, said: Mapping[str, Any]) -> None:
    """Note that an agent was heard of; one that was offline is online where it says nothing else."""
    was = row.status
    status = said.get("status") or ("online" if was == "offline" else was)
    agents.heard(session, row.id, {**said, "status": status})
    if was == "offline" and status in AVAILABLE:
        operational.note(session, "agent.online", [(row.workspace_id, {"agent_id": row.id, "name": row.name})])


def asks(deps: Deps, actor: Actor, agent: str) -> tuple[str, bool]:
    """An agent asks for something, which it may do all the time: its id, and whether it was offline before.

    Only one that was not heard of for a while is written. Raises NotFoundError, ForbiddenError.
    """
    with deps.db.read() as session:
        found = agents.find(session, actor.workspace_id, agent)
        row = _as_own(actor, agent, None if found is None else found[0])
        agent_id, silent = row.id, _is_silent(session, row)
    if not silent:
        return agent_id, False
    with deps.db.transaction() as session:
        return agent_id, asked(session, own(session, actor, agent_id))


def asked(session: Session, row: Agent) -> bool:
    """A locked agent asked for something, which tells that it is there; whether it was offline before."""
    was_offline = row.status == "offline"
    if _is_silent(session, row):
        _hear(session, row, {})
    return was_offline


def _is_silent(session: Session, row: Agent) -> bool:
    return row.status == "offline" or sweeps.clock(session) - row.heartbeat_at.timestamp() > MINUTE / A_MINUTE


def update(deps: Deps, actor: Actor, agent: str, body: Mapping[str, Any], once: Once) -> Done:
    """Change what is given. Raises NotFoundError, ForbiddenError, InvalidError (gateway)."""
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return Done(answer=kept)
        row = own(session, actor, agent)
        before = agent_views.one(session, actor.workspace_id, row.id)
        values = _values(session, actor, body)
        moved = row.gateway_id is None and values.get("gateway_id") is not None
        if row.status == "offline" and values.get("status") in AVAILABLE:
            _hear(session, row, {"status": values["status"]})
        agents.change(session, row.id, values)
        rerouted = pulling.recall(session, deps, row.id) if moved else ()
        answer = agent_views.one(session, actor.workspace_id, row.id)
        auditing.record(session, actor, "agent.update", f"agent:{row.id}", before=before, after=answer)
        once.finish(session, answer)
    return Done(answer=answer, effects=(*rerouted, *unserved.release(deps, actor.workspace_id)))


def remove(deps: Deps, actor: Actor, agent: str, once: Once) -> Done:
    """Remove an agent: its keys end, what waits for it is routed anew. Raises NotFoundError."""
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return Done(answer=kept)
        row = own(session, actor, agent)
        answer = agent_views.one(session, actor.workspace_id, row.id)
        rerouted = pulling.leave(session, deps, row.id)
        keys.revoke_of(session, row.id, sweeps.moment(session))
        agents.remove(session, row.id)
        auditing.record(session, actor, "agent.delete", f"agent:{row.id}", before=answer)
        once.finish(session, answer)
    return Done(answer=answer, effects=(*rerouted, *unserved.release(deps, actor.workspace_id)))


def own(session: Session, actor: Actor, agent: str) -> Agent:
    """An agent that the actor may act for, by id or name, locked. Raises NotFoundError, ForbiddenError."""
    return _as_own(actor, agent, agents.lock(session, actor.workspace_id, agent))


def _as_own(actor: Actor, agent: str, row: Agent | None) -> Agent:
    if row is None:
        raise agent_views.missing(agent)
    if not _is_own(actor, row):
        raise ForbiddenError(
            f"The key {actor.name!r} does not act for agent {row.name!r}; use that agent's own key, or an admin's"
        )
    return row


def _is_own(actor: Actor, row: Agent) -> bool:
    return actor.may("admin") or actor.agent_id == row.id


def _values(session: Session, actor: Actor, body: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that a body gives."""
    values = {_COLUMNS.get(name, name): value for name, value in body.items() if name not in ("name", "gateway")}
    if "capabilities" in values:
        values["capabilities"] = sorted(set(values["capabilities"]))
    if "gateway" in body:
        values["gateway_id"] = _gateway(session, actor, body["gateway"])
    return values


def _gateway(session: Session, actor: Actor, gateway: str | None) -> str | None:
    if gateway is None:
        return None
    row = gateways.hold(session, actor.workspace_id, gateway)
    if row is None:
        message = f"There is no gateway {gateway!r}; GET /api/gateways lists those that there are"
        raise InvalidError(message, [Problem(pointer="/gateway", code="INVALID_VALUE", message=message)])
    return row.id
