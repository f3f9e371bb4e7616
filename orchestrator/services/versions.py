"""A workflow's versions: list, show, compare, roll back, draw."""

import json
from typing import Any

from models.errors import ConflictError
from models.queries import workflows as queries
from models.workflow import WorkflowVersion
from orchestrator.core import prune
from orchestrator.core.diff import diff as compare
from orchestrator.core.mermaid import draw
from orchestrator.core.plan import Plan
from orchestrator.services import paging
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.paging import PageRequest
from orchestrator.services.shapes import moment
from orchestrator.services.workflows import append, found, numbered, record, told, written


def list_(deps: Deps, actor: Actor, id_or_name: str, request: PageRequest) -> dict[str, Any]:
    """Versions, newest first, without their definitions. Raises NotFoundError."""
    with deps.db.read() as session:
        workflow = found(session, actor, id_or_name)
        scope = ["versions", workflow.id]
        place = request.after(scope)
        before = None if place is None else int(place)
        rows = queries.versions(session, workflow.id, before=before, limit=request.limit + 1)
        return paging.page(rows, request, scope, place=lambda row: str(row.number), show=_view)


def get(deps: Deps, actor: Actor, id_or_name: str, number: int) -> dict[str, Any]:
    """One version with its definition. Raises NotFoundError."""
    with deps.db.read() as session:
        version = numbered(session, found(session, actor, id_or_name), number)
        return {**_view(version), "definition": version.definition}


def rollback(deps: Deps, actor: Actor, id_or_name: str, number: int, once: Once) -> dict[str, Any]:
    """The content of an old version as the newest one. Raises NotFoundError, ConflictError when archived."""
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        workflow = found(session, actor, id_or_name, lock=True)
        if workflow.archived_at is not None:
            raise ConflictError(f"The workflow {workflow.name!r} is archived; PUT a definition to revive it")
        old = numbered(session, workflow, number)
        current = numbered(session, workflow, workflow.current_version)
        before = told(workflow, current)
        if old.digest != current.digest:
            current = append(session, actor, workflow, old)
        answer = written(workflow, current)
        record(session, actor, "rollback", workflow, before, current)
        once.finish(session, answer)
        return answer


def diff(deps: Deps, actor: Actor, id_or_name: str, *, old: int | None, new: int | None) -> dict[str, Any]:
    """What changed between two versions, by default the current one and the one before it.

    Raises NotFoundError.
    """
    with deps.db.read() as session:
        workflow = found(session, actor, id_or_name)
        newer = workflow.current_version if new is None else new
        older = max(1, newer - 1) if old is None else old
        before = numbered(session, workflow, older).definition
        after = numbered(session, workflow, newer).definition
    return compare(before, after)


def plan(deps: Deps, actor: Actor, id_or_name: str, number: int | None) -> dict[str, Any]:
    """The execution plan of a version, by default the current one. Raises NotFoundError."""
    with deps.db.read() as session:
        workflow = found(session, actor, id_or_name)
        text = numbered(session, workflow, workflow.current_version if number is None else number).plan
    return prune.shown(Plan.from_json(json.loads(text)))


def mermaid(deps: Deps, actor: Actor, id_or_name: str, number: int | None) -> str:
    """The diagram of a version, by default the current one. Raises NotFoundError."""
    with deps.db.read() as session:
        workflow = found(session, actor, id_or_name)
        version = numbered(session, workflow, workflow.current_version if number is None else number)
        return draw(deps.plans.get(session, version.id), deps.types)


def _view(version: WorkflowVersion) -> dict[str, Any]:
    return {
        "version": version.number,
        "digest": version.digest,
        "classification": version.classification,
        "estimated_cost_cents": version.estimated_cost_cents,
        "estimate_is_lower_bound": version.estimate_is_lower_bound,
        "created_at": moment(version.created_at),
        "created_by": version.created_by,
    }
