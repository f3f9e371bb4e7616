"""Agents as callers see them: one, a page of them. Never a key."""

from typing import Any

from sqlalchemy.orm import Session

from models.agent import Agent
from models.errors import ForbiddenError, NotFoundError
from models.queries import agents, gateways
from models.queries.agents import AgentFilter
from orchestrator.services import paging
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.paging import PageRequest
from orchestrator.services.shapes import moment


def get(deps: Deps, actor: Actor, agent: str) -> dict[str, Any]:
    """An agent by id or name. Raises NotFoundError, ForbiddenError (another agent's key)."""
    with deps.db.read() as session:
        found = one(session, actor.workspace_id, agent)
    if not actor.may("read") and actor.agent_id != found["id"]:
        raise ForbiddenError(
            f"The key {actor.name!r} reads no other agent than its own; use a key of scope read"
        )
    return found


def list_(
    deps: Deps,
    actor: Actor,
    request: PageRequest,
    *,
    status: str | None = None,
    role: str | None = None,
    capability: str | None = None,
    gateway: str | None = None,
) -> dict[str, Any]:
    """Agents by name, those that fit all that is given."""
    scope = ["agents", actor.workspace_id, status, role, capability, gateway]
    after = request.after(scope)
    with deps.db.read() as session:
        at = None if gateway is None else gateways.find(session, actor.workspace_id, gateway)
        if gateway is not None and at is None:
            return {"items": [], "next_cursor": None}
        wanted = AgentFilter(
            status=status, role=role, capability=capability, gateway=None if at is None else at.id
        )
        rows = agents.page(session, actor.workspace_id, wanted, after=after, limit=request.limit + 1)
        load = agents.load(session, [row[0].id for row in rows])
    return paging.page(
        rows,
        request,
        scope,
        place=lambda row: row[0].name,
        show=lambda row: _summary(row[0], row[1], load.get(row[0].id, 0)),
    )


def one(session: Session, workspace_id: str, agent: str) -> dict[str, Any]:
    """An agent, whole, as this transaction sees it. Raises NotFoundError."""
    session.expire_all()
    found = agents.find(session, workspace_id, agent)
    if found is None:
        raise missing(agent)
    row, gateway = found
    load = agents.load(session, [row.id]).get(row.id, 0)
    return {**_summary(row, gateway, load), "files": row.files or {}}


def missing(agent: str) -> NotFoundError:
    return NotFoundError(f"There is no agent {agent!r}; GET /api/agents lists those that there are")


def _summary(row: Agent, gateway: str | None, load: int) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "role": row.role,
        "level": row.level,
        "status": row.status,
        "session_key": row.session_key,
        "capabilities": row.capabilities,
        "workspace_path": row.workspace_path,
        "gateway": gateway,
        "max_concurrent": row.max_concurrent,
        "rate_limit": row.rate_limit,
        "heartbeat": row.beats,
        "load": load,
        "queued_task_count": row.queued_task_count,
        "heartbeat_at": moment(row.heartbeat_at),
        "created_at": moment(row.created_at),
        "updated_at": moment(row.updated_at),
    }
