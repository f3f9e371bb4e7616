"""Pools: names for slots of a workspace, which steps take while they run."""

import re
from typing import Any

from sqlalchemy.orm import Session

from models.errors import InvalidError, NotFoundError, Problem
from models.queries import pools
from models.slots import Pool
from orchestrator.core.lanes import Kind, Lane
from orchestrator.services import auditing, paging
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.paging import PageRequest
from orchestrator.services.shapes import moment

_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}", re.ASCII)


def put(deps: Deps, actor: Actor, name: str, size: int, once: Once) -> dict[str, Any]:
    """Make a pool, or give it another size. Raises InvalidError (name)."""
    if not _NAME.fullmatch(name):
        message = "a pool's name has a lower-case letter, then up to 63 of a-z, 0-9 and -"
        raise InvalidError(message, [Problem(pointer="", code="INVALID_NAME", message=message)])
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        before = pools.find(session, actor.workspace_id, name)
        known = None if before is None else {"size": before.size}
        answer = _view(session, pools.put(session, actor.workspace_id, name, size))
        auditing.record(session, actor, "pool.set", f"pool:{name}", before=known, after={"size": size})
        once.finish(session, answer)
        return answer


def get(deps: Deps, actor: Actor, name: str) -> dict[str, Any]:
    """A pool. Raises NotFoundError."""
    with deps.db.read() as session:
        return _view(session, _found(session, actor, name))


def list_(deps: Deps, actor: Actor, request: PageRequest) -> dict[str, Any]:
    """The workspace's pools by name."""
    scope = ["pools", actor.workspace_id]
    after = request.after(scope)
    with deps.db.read() as session:
        rows = pools.page(session, actor.workspace_id, after=after, limit=request.limit + 1)
        return paging.page(
            rows, request, scope, place=lambda row: row.name, show=lambda row: _view(session, row)
        )


def remove(deps: Deps, actor: Actor, name: str, once: Once) -> dict[str, Any]:
    """Remove a pool; what runs in it goes on. Raises NotFoundError."""
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        row = _found(session, actor, name)
        answer = _view(session, row)
        auditing.record(session, actor, "pool.delete", f"pool:{name}", before={"size": row.size})
        pools.remove(session, row)
        once.finish(session, answer)
        return answer


def _found(session: Session, actor: Actor, name: str) -> Pool:
    row = pools.find(session, actor.workspace_id, name)
    if row is None:
        raise NotFoundError(f"There is no pool {name!r}; GET /api/pools lists those that there are")
    return row


def _view(session: Session, row: Pool) -> dict[str, Any]:
    lane = str(Lane(workspace_id=row.workspace_id, kind=Kind.POOL, name=row.name))
    return {
        "name": row.name,
        "size": row.size,
        "taken": pools.taken(session, lane),
        "waiting": pools.waiting(session, lane),
        "created_at": moment(row.created_at),
    }
