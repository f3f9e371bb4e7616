"""What routing decides on, and what it writes: agents and their load, who keeps a session, where work was sent.

Load is counted at each question: by the steps that run or wait at an agent (ix_step_agent), and by the attempts
that began in the last minute (ix_attempt_agent).
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import CursorResult, Select, delete, exists, func, select, update
from sqlalchemy.orm import Session

from models.agent import Agent, SessionAgent
from models.gateway import Gateway
from models.queries.dialect import insert
from models.queries.runs import now
from models.queries.sweeps import clock
from models.step import Attempt, Step

MINUTE = 60.0
_UNKNOWN = ("lost", "aborted")


def agents(session: Session, workspace_id: str, *, name: str | None = None) -> list[dict[str, Any]]:
    """The registered agents of a workspace, or the one of a name (they are in lower case), without their load.

    Members as orchestrator.core.routing.Candidate has them.
    """
    query: Select[*tuple[Any, ...]] = (
        select(
            Agent.id,
            Agent.name,
            Agent.role,
            Agent.capabilities,
            Agent.status,
            Agent.gateway_id,
            Agent.session_key,
            Agent.queued_task_count.label("queued"),
            Agent.max_concurrent,
            Agent.rate_limit,
            Gateway.name.label("gateway_name"),
            Gateway.status.label("gateway_status"),
        )
        .outerjoin(Gateway, Gateway.id == Agent.gateway_id)
        .where(Agent.workspace_id == workspace_id)
    )
    if name is not None:
        query = query.where(Agent.name == name)
    return [dict(row._mapping) for row in session.execute(query.order_by(Agent.name))]


def homes(session: Session, workspace_id: str, names: Collection[str]) -> list[dict[str, Any]]:
    """The agents of these names that are at a gateway and have workspace files: {name, role, session_key,
    gateway_id, files}, by name."""
    query = (
        select(Agent.name, Agent.role, Agent.session_key, Agent.gateway_id, Agent.files)
        .where(Agent.workspace_id == workspace_id, Agent.name.in_(sorted(names)))
        .where(Agent.files.is_not(None), Agent.gateway_id.is_not(None))
    )
    return [dict(row._mapping) for row in session.execute(query.order_by(Agent.name))]


def live(session: Session, ids: Collection[str], run_id: str, no: int) -> Mapping[str, int]:
    """How many steps run or wait at each agent, without step `no` of a run."""
    rows = session.execute(
        select(Step.agent_id, func.count())
        .where(
            Step.agent_id.in_(sorted(ids)),
            Step.agent_id.is_not(None),
            Step.status.in_(("running", "waiting")),
            ~((Step.run_id == run_id) & (Step.no == no)),
        )
        .group_by(Step.agent_id)
    )
    return {str(agent_id): count for agent_id, count in rows}


def begun(session: Session, ids: Collection[str]) -> Mapping[str, int]:
    """How many attempts each agent has begun in the last minute."""
    since = datetime.fromtimestamp(clock(session) - MINUTE, UTC)
    rows = session.execute(
        select(Attempt.agent_id, func.count())
        .where(Attempt.agent_id.in_(sorted(ids)), Attempt.agent_id.is_not(None), Attempt.begun_at > since)
        .group_by(Attempt.agent_id)
    )
    return {str(agent_id): count for agent_id, count in rows}


def gateway(session: Session, gateway_id: str) -> Gateway | None:
    """A gateway's row."""
    return session.get(Gateway, gateway_id)


def sticky(session: Session, run_id: str, name: str) -> str | None:
    """The id of the agent that keeps a session of a run."""
    found = session.get(SessionAgent, (run_id, name))
    return None if found is None else found.agent_id


def stick(session: Session, run_id: str, name: str, agent_id: str) -> None:
    """From now on this agent keeps a session of a run."""
    row = insert(session, SessionAgent).values(run_id=run_id, session=name, agent_id=agent_id)
    kept = row.on_conflict_do_update(index_elements=["run_id", "session"], set_={"agent_id": agent_id})
    session.execute(kept)


def unstick(session: Session, run_id: str, name: str) -> None:
    """An agent was sent nothing: it keeps no session of a run in which it has done no work."""
    worked = exists().where(
        Attempt.run_id == run_id, Attempt.agent_id == SessionAgent.agent_id, Attempt.assigned.is_not(None)
    )
    session.execute(
        delete(SessionAgent)
        .where(SessionAgent.run_id == run_id, SessionAgent.session == name, ~worked)
        .execution_options(synchronize_session=False)
    )


def assign(
    session: Session,
    run_id: str,
    no: int,
    number: int,
    *,
    agent_id: str | None,
    agent: str | None,
    assigned: Mapping[str, Any] | None,
) -> bool:
    """Write where the work of a running attempt is sent (None: nowhere); False where it runs no more."""
    running = (Step.run_id == run_id, Step.no == no, Step.attempt == number, Step.status == "running")
    done: CursorResult[Any] = session.execute(  # type: ignore[assignment]
        update(Step).where(*running).values(agent_id=agent_id)
    )
    if not done.rowcount:
        return False
    own = (Attempt.run_id == run_id, Attempt.no == no, Attempt.number == number)
    values: dict[str, Any] = {"agent_id": agent_id, "agent": agent, "assigned": assigned}
    if assigned is not None:
        values["begun_at"] = now(session)
    session.execute(update(Attempt).where(*own).values(values))
    return True


def reassign(session: Session, run_id: str, no: int, number: int, assigned: Mapping[str, Any]) -> None:
    """A running attempt follows other work than it was to send; it stays at its agent."""
    running = select(Step.no).where(
        Step.run_id == run_id, Step.no == no, Step.attempt == number, Step.status == "running"
    )
    own = (Attempt.run_id == run_id, Attempt.no == no, Attempt.number == number)
    session.execute(update(Attempt).where(*own, running.exists()).values(assigned=assigned))


def assigned(session: Session, run_id: str, no: int, number: int) -> Any:
    """Where the work of an attempt was sent; None: nowhere."""
    own = (Attempt.run_id == run_id, Attempt.no == no, Attempt.number == number)
    return session.execute(select(Attempt.assigned).where(*own)).scalar_one_or_none()


def sent_to(session: Session, run_id: str, no: int, number: int) -> tuple[str | None, str | None]:
    """The name of the agent that an attempt was sent to, and the id of its gateway."""
    own = (Attempt.run_id == run_id, Attempt.no == no, Attempt.number == number)
    query = select(Attempt.agent, Agent.gateway_id).outerjoin(Agent, Agent.id == Attempt.agent_id).where(*own)
    row = session.execute(query).one_or_none()
    return (None, None) if row is None else (row.agent, row.gateway_id)


def is_followed(session: Session, run_id: str, no: int, number: int) -> bool:
    """Whether the next attempt looks up what became of this one."""
    own = (Attempt.run_id == run_id, Attempt.no == no, Attempt.number == number)
    return session.execute(select(Attempt.status).where(*own)).scalar_one_or_none() in _UNKNOWN


def unknown(session: Session, run_id: str, no: int, number: int) -> list[Any]:
    """Where the attempts before one were sent whose fate nobody has learned since, newest first."""
    rows = session.execute(
        select(Attempt.status, Attempt.error, Attempt.assigned)
        .where(Attempt.run_id == run_id, Attempt.no == no, Attempt.number < number)
        .order_by(Attempt.number.desc())
    )
    found = []
    for status, error, where in rows:
        if where is None:
            continue
        if status not in _UNKNOWN and not _untold(error):
            break
        if where not in found:
            found.append(where)
    return found


def _untold(error: Any) -> bool:
    """Whether an attempt failed since its gateway was lost, and may have been done there all the same."""
    details = (error or {}).get("details") or {}
    return details.get("fate") == "unknown"
