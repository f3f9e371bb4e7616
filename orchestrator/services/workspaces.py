"""Workspaces: what separates teams.

Admins of the workspace `default` run the installation: they make workspaces and act on all. Admins of any
other see their own alone.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from models.errors import ConflictError, ForbiddenError, NotFoundError
from models.queries import workspaces
from models.workspace import Workspace
from orchestrator.services import auditing, paging
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.paging import PageRequest
from orchestrator.services.shapes import moment

DEFAULT = "default"


def create(deps: Deps, actor: Actor, name: str, once: Once) -> dict[str, Any]:
    """A new workspace. Raises ConflictError (name taken), ForbiddenError (another team's admin)."""
    with deps.db.transaction() as session:
        if not operates(session, actor):
            raise ForbiddenError(f"Only admins of the workspace {DEFAULT!r} make workspaces")
        if (kept := once.begin(session)) is not None:
            return kept
        if not workspaces.add(session, name, datetime.now(UTC)):
            raise ConflictError(f"There is a workspace {name!r} already; choose another name")
        answer = _view(found(session, name))
        auditing.record(session, actor, "workspace.create", f"workspace:{answer['id']}", after=answer)
        once.finish(session, answer)
        return answer


def update(deps: Deps, actor: Actor, id_or_name: str, body: Mapping[str, Any], once: Once) -> dict[str, Any]:
    """Change how long the runs are kept: `{run_retention_days?}`, null as the settings say. Raises NotFoundError."""
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        row = reachable(session, actor, id_or_name)
        before = _view(row)
        row.run_retention_days = body.get("run_retention_days", row.run_retention_days)
        answer, target = _view(row), f"workspace:{row.id}"
        auditing.record(
            session, actor, "workspace.update", target, before=before, after=answer, workspace_id=row.id
        )
        once.finish(session, answer)
        return answer


def get(deps: Deps, actor: Actor, id_or_name: str) -> dict[str, Any]:
    """A workspace by id or name. Raises NotFoundError."""
    with deps.db.read() as session:
        return _view(reachable(session, actor, id_or_name))


def list_(deps: Deps, actor: Actor, request: PageRequest) -> dict[str, Any]:
    """The workspaces that the actor administers, newest first."""
    scope = ["workspaces", actor.workspace_id]
    before = request.after(scope)
    with deps.db.read() as session:
        only = None if operates(session, actor) else actor.workspace_id
        rows = workspaces.page(session, only=only, before=before, limit=request.limit + 1)
        return paging.page(rows, request, scope, place=lambda row: row.id, show=_view)


def ensure_default(session: Session) -> Workspace:
    """The operators' workspace, made when it is missing."""
    workspaces.add(session, DEFAULT, datetime.now(UTC))
    return found(session, DEFAULT)


def operates(session: Session, actor: Actor) -> bool:
    """Whether the actor belongs to those who run the installation."""
    return found(session, actor.workspace_id).name == DEFAULT


def reachable(session: Session, actor: Actor, id_or_name: str) -> Workspace:
    """A workspace that the actor administers. Raises NotFoundError for others' as for none."""
    row = workspaces.find(session, id_or_name)
    if row is None or not (row.id == actor.workspace_id or operates(session, actor)):
        raise NotFoundError(f"There is no workspace {id_or_name!r}")
    return row


def found(session: Session, id_or_name: str) -> Workspace:
    """A workspace that must be there. Raises NotFoundError."""
    row = workspaces.find(session, id_or_name)
    if row is None:
        raise NotFoundError(f"There is no workspace {id_or_name!r}")
    return row


def _view(row: Workspace) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "run_retention_days": row.run_retention_days,
        "created_at": moment(row.created_at),
    }
