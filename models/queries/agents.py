"""The registry: agents of a workspace, who was heard of, how much each has to do."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, delete, func, or_, select, text, update
from sqlalchemy.orm import Session, defer

from models.agent import Agent, SessionAgent
from models.gateway import Gateway
from models.queries.dialect import as_id, insert
from models.queries.runs import now
from models.step import Attempt, Step

AVAILABLE = ("online", "idle", "busy")
_LIVE = ("running", "waiting")
_HAS = {
    "sqlite": "EXISTS (SELECT 1 FROM json_each(agent.capabilities) WHERE value = :capability)",
    "postgresql": (
        "EXISTS (SELECT 1 FROM json_array_elements_text(CAST(agent.capabilities AS json)) AS c(value)"
        " WHERE c.value = :capability)"
    ),
}
Found = Row[Agent, str | None]


def add(session: Session, values: Mapping[str, Any]) -> bool:
    """Add an agent, heard of now; False when its name is taken."""
    at = now(session)
    row = insert(session, Agent).values(**values, heartbeats=[], heartbeat_at=at, created_at=at, updated_at=at)
    added = row.on_conflict_do_nothing(index_elements=["workspace_id", "name"]).returning(Agent.id)
    return session.execute(added).first() is not None


def find(session: Session, workspace_id: str, id_or_name: str) -> Found | None:
    """An agent of a workspace, by id or name, with its gateway's name."""
    named = or_(Agent.id == as_id(id_or_name), Agent.name == id_or_name.lower())
    return session.execute(_agents().where(Agent.workspace_id == workspace_id, named)).first()


def lock(session: Session, workspace_id: str, id_or_name: str) -> Agent | None:
    """An agent, by id or name, for this transaction alone."""
    named = or_(Agent.id == as_id(id_or_name), Agent.name == id_or_name.lower())
    query = select(Agent).where(Agent.workspace_id == workspace_id, named)
    return session.scalars(query.with_for_update()).first()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFilter:
    """Which agents; `gateway` is an id."""

    status: str | None = None
    role: str | None = None
    capability: str | None = None
    gateway: str | None = None


def page(
    session: Session, workspace_id: str, wanted: AgentFilter, *, after: str | None, limit: int
) -> Sequence[Found]:
    """Agents by name, after one of them, without their files."""
    query = _agents().options(defer(Agent.files, raiseload=True)).where(Agent.workspace_id == workspace_id)
    for column, value in (
        (Agent.status, wanted.status),
        (Agent.role, wanted.role),
        (Agent.gateway_id, wanted.gateway),
    ):
        query = query if value is None else query.where(column == value)
    if wanted.capability is not None:
        has = text(_HAS[session.get_bind().dialect.name]).bindparams(capability=wanted.capability)
        query = query.where(has)
    if after is not None:
        query = query.where(Agent.name > after)
    return session.execute(query.order_by(Agent.name).limit(limit)).all()


def change(session: Session, agent_id: str, values: Mapping[str, Any]) -> None:
    """Write what is given of an agent."""
    changed = update(Agent).where(Agent.id == agent_id)
    session.execute(changed.values(**values, updated_at=now(session)))


def heard(session: Session, agent_id: str, values: Mapping[str, Any]) -> None:
    """An agent is there: note when, and what it said of itself."""
    session.execute(update(Agent).where(Agent.id == agent_id).values(**values, heartbeat_at=now(session)))


def remove(session: Session, agent_id: str) -> None:
    """Remove an agent; sessions that it kept may go elsewhere."""
    session.execute(delete(SessionAgent).where(SessionAgent.agent_id == agent_id))
    session.execute(delete(Agent).where(Agent.id == agent_id))


def load(session: Session, agent_ids: Collection[str]) -> dict[str, int]:
    """How many live steps each of the agents has; those without are absent."""
    counted = select(Step.agent_id, func.count()).where(
        Step.agent_id.is_not(None), Step.agent_id.in_(agent_ids), Step.status.in_(_LIVE)
    )
    return {agent: number for agent, number in session.execute(counted.group_by(Step.agent_id)) if agent}


def begun_since(session: Session, agent_id: str, since: float) -> int:
    """How many attempts an agent was given after a moment, in seconds since 1970."""
    moment = datetime.fromtimestamp(since, UTC)
    # One that is pulled was claimed by our worker before; a day bounds what of the index is read.
    given = select(func.count()).where(
        Attempt.agent_id == agent_id,
        Attempt.claimed_at > moment - timedelta(days=1),
        or_(Attempt.claimed_at > moment, Attempt.begun_at > moment),
    )
    return int(session.execute(given).scalar_one())


def at_gateway(session: Session, gateway_id: str) -> int:
    """How many agents are registered with a gateway."""
    return int(session.execute(select(func.count()).where(Agent.gateway_id == gateway_id)).scalar_one())


def silent_at(session: Session, gateway_id: str) -> Sequence[Agent]:
    """The agents of a gateway that send no heartbeats."""
    query = select(Agent).where(Agent.gateway_id == gateway_id, Agent.beats.is_(False)).order_by(Agent.id)
    return session.scalars(query).all()


def refresh(session: Session, agent_ids: Collection[str]) -> list[Row[str, str, str]]:
    """Agents were heard of: those that were offline are online. (id, name, workspace) of these."""
    here = Agent.id.in_(agent_ids)
    back = update(Agent).where(here, Agent.status == "offline").values(status="online")
    online = session.execute(back.returning(Agent.id, Agent.name, Agent.workspace_id)).all()
    session.execute(update(Agent).where(here).values(heartbeat_at=now(session)))
    return list(online)


def any_silent(session: Session, before: float) -> bool:
    """Whether an available agent was not heard of since a moment, in seconds since 1970."""
    return session.execute(_silent(before, 1)).first() is not None


def lapse(session: Session, before: float, limit: int) -> list[Row[str, str, str]]:
    """Available agents that were not heard of since a moment are offline. (id, name, workspace) of each."""
    silent = _silent(before, limit).with_for_update(skip_locked=True)
    gone = update(Agent).where(Agent.id.in_(silent), *_is_silent(before)).values(status="offline")
    return list(session.execute(gone.returning(Agent.id, Agent.name, Agent.workspace_id)).all())


def _is_silent(before: float) -> tuple[Any, ...]:
    return Agent.status.in_(AVAILABLE), Agent.heartbeat_at < datetime.fromtimestamp(before, UTC)


def _silent(before: float, limit: int) -> Select[str]:
    return select(Agent.id).where(*_is_silent(before)).order_by(Agent.id).limit(limit)


def _agents() -> Select[Agent, str | None]:
    return select(Agent, Gateway.name).outerjoin(Gateway, Gateway.id == Agent.gateway_id)
