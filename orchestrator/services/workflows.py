"""Workflows: write a definition, read it back, archive it.

Compilation happens before the transaction, which only compares digests and appends.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from models.base import dump_json
from models.errors import ConflictError, InvalidError, NotFoundError, Problem
from models.queries import workflows
from models.workflow import Workflow, WorkflowVersion
from orchestrator.core.definition import Compiled, compile_definition
from orchestrator.core.document import Document
from orchestrator.services import auditing, paging
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.paging import PageRequest
from orchestrator.services.shapes import moment


def create(deps: Deps, actor: Actor, document: Document, once: Once) -> dict[str, Any]:
    """A new workflow at version 1.

    Raises InvalidError with every problem of the definition, ConflictError when the name is taken.
    """
    compiled = compile_(deps, document)
    name = compiled.plan.workflow
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        workflow_id = workflows.add(session, actor.workspace_id, name, datetime.now(UTC))
        if workflow_id is None:
            raise _taken(session, actor, name)
        workflow = found(session, actor, workflow_id, lock=True)
        version = append(session, actor, workflow, compiled)
        answer = written(workflow, version)
        record(session, actor, "create", workflow, None, version)
        once.finish(session, answer)
        return answer


def update(deps: Deps, actor: Actor, id_or_name: str, document: Document, once: Once) -> dict[str, Any]:
    """The next version; the same content as the current one makes none. Brings an archived workflow back.

    Raises InvalidError, also when the definition's name is another; NotFoundError.
    """
    compiled = compile_(deps, document)
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        workflow = found(session, actor, id_or_name, lock=True)
        if compiled.plan.workflow != workflow.name:
            raise _renamed(workflow.name, document)
        old = numbered(session, workflow, workflow.current_version)
        before, workflow.archived_at = told(workflow, old), None
        current = old if compiled.digest == old.digest else append(session, actor, workflow, compiled)
        record(session, actor, "update", workflow, before, current)
        answer = written(workflow, current)
        once.finish(session, answer)
        return answer


def validate(deps: Deps, document: Document) -> dict[str, Any]:
    """`{valid, errors, classification, estimated_cost_cents, estimate_is_lower_bound}`; stores nothing."""
    try:
        compiled = compile_(deps, document)
    except InvalidError as error:
        return {
            "valid": False,
            "errors": error.problems,
            "classification": None,
            "estimated_cost_cents": None,
            "estimate_is_lower_bound": None,
        }
    return {
        "valid": True,
        "errors": (),
        "classification": compiled.classification,
        "estimated_cost_cents": compiled.estimated_cost_cents,
        "estimate_is_lower_bound": compiled.estimate_is_lower_bound,
    }


def get(deps: Deps, actor: Actor, id_or_name: str) -> dict[str, Any]:
    """A workflow with its current definition. Raises NotFoundError."""
    with deps.db.read() as session:
        workflow = found(session, actor, id_or_name)
        current = numbered(session, workflow, workflow.current_version)
        return {**_view(workflow, current), "definition": current.definition}


def list_(deps: Deps, actor: Actor, request: PageRequest, *, archived: bool = False) -> dict[str, Any]:
    """Workflows, newest first, without their definitions; archived ones where asked for."""
    scope = ["workflows", actor.workspace_id, archived]
    before = request.after(scope)
    with deps.db.read() as session:
        rows = workflows.page(
            session, actor.workspace_id, archived=archived, before=before, limit=request.limit + 1
        )
        return paging.page(rows, request, scope, place=lambda row: row[0].id, show=lambda row: _view(*row))


def archive(deps: Deps, actor: Actor, id_or_name: str, once: Once) -> dict[str, Any]:
    """Refuse new runs from now on; runs and versions stay. A repeat changes nothing. Raises NotFoundError."""
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        workflow = found(session, actor, id_or_name, lock=True)
        current = numbered(session, workflow, workflow.current_version)
        before, workflow.archived_at = told(workflow, current), workflow.archived_at or datetime.now(UTC)
        answer = _view(workflow, current)
        record(session, actor, "archive", workflow, before, current)
        once.finish(session, answer)
        return answer


def compile_(deps: Deps, document: Document) -> Compiled:
    """The definition checked whole and built into its plan. Raises InvalidError with every problem."""
    return compile_definition(
        document, types=deps.types, limits=deps.limits(), env_allow=deps.settings.env_allow
    )


def found(session: Session, actor: Actor, id_or_name: str, *, lock: bool = False) -> Workflow:
    """A workflow of the actor's workspace. Raises NotFoundError."""
    workflow = workflows.find(session, actor.workspace_id, id_or_name, lock=lock)
    if workflow is None:
        raise NotFoundError(f"There is no workflow {id_or_name!r}")
    return workflow


def numbered(session: Session, workflow: Workflow, number: int) -> WorkflowVersion:
    """One version of a workflow. Raises NotFoundError."""
    version = workflows.numbered(session, workflow.id, number)
    if version is None:
        raise NotFoundError(
            f"The workflow {workflow.name!r} has no version {number}; the newest is "
            f"{workflow.current_version}"
        )
    return version


def append(
    session: Session, actor: Actor, workflow: Workflow, content: Compiled | WorkflowVersion
) -> WorkflowVersion:
    """The content as the next version, which becomes the current one. The workflow's row must be locked."""
    now = datetime.now(UTC)
    workflow.current_version += 1
    workflow.updated_at = now
    version = WorkflowVersion(
        workflow_id=workflow.id,
        number=workflow.current_version,
        digest=content.digest,
        definition=content.definition,
        plan=content.plan if isinstance(content, WorkflowVersion) else dump_json(content.plan.to_json()),
        classification=content.classification,
        estimated_cost_cents=content.estimated_cost_cents,
        estimate_is_lower_bound=content.estimate_is_lower_bound,
        created_at=now,
        created_by=actor.name,
    )
    session.add(version)
    session.flush()
    return version


def told(workflow: Workflow, version: WorkflowVersion) -> dict[str, Any]:
    """What the audit log says of a workflow."""
    return {"version": version.number, "digest": version.digest, "archived_at": moment(workflow.archived_at)}


def record(
    session: Session,
    actor: Actor,
    act: str,
    workflow: Workflow,
    before: dict[str, Any] | None,
    version: WorkflowVersion,
) -> None:
    """Write `workflow.<act>` to the audit log; nothing where it left all as it was."""
    after = told(workflow, version)
    if before != after:
        auditing.record(session, actor, f"workflow.{act}", f"workflow:{workflow.id}", before=before, after=after)


def written(workflow: Workflow, version: WorkflowVersion) -> dict[str, Any]:
    """What a write of a definition answers."""
    return {
        "id": workflow.id,
        "name": workflow.name,
        "version": version.number,
        "classification": version.classification,
        "estimated_cost_cents": version.estimated_cost_cents,
        "estimate_is_lower_bound": version.estimate_is_lower_bound,
    }


def _view(workflow: Workflow, version: WorkflowVersion) -> dict[str, Any]:
    return {
        **written(workflow, version),
        "digest": version.digest,
        "created_at": moment(workflow.created_at),
        "updated_at": moment(workflow.updated_at),
        "archived_at": moment(workflow.archived_at),
    }


def _taken(session: Session, actor: Actor, name: str) -> ConflictError:
    archived = found(session, actor, name).archived_at is not None
    state = "an archived workflow" if archived else "a workflow"
    remedy = "to bring it back with this definition" if archived else "to make a new version of it"
    return ConflictError(f"There is {state} {name!r} already; PUT /api/workflows/{name} {remedy}")


def _renamed(name: str, document: Document) -> InvalidError:
    message = f"This workflow is called {name!r} and keeps its name; POST the definition as a new workflow"
    problem = Problem(
        pointer="/name", code="INVALID_VALUE", message=message, line=document.lines.get("/name")
    )
    return InvalidError("The definition names another workflow", [problem])
