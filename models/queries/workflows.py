"""Workflows and their versions: find, add, append, list."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, and_, or_, select
from sqlalchemy.orm import Session, defer

from models.base import uuid7
from models.queries.dialect import as_id, insert
from models.queries.prepared import Prepared
from models.workflow import Workflow, WorkflowVersion

_LIGHT = (defer(WorkflowVersion.definition, raiseload=True), defer(WorkflowVersion.plan, raiseload=True))
Current = Row[Workflow, WorkflowVersion]


def find(session: Session, workspace_id: str, id_or_name: str, *, lock: bool = False) -> Workflow | None:
    """The workflow of a name or an id; `lock` holds it until the transaction ends."""
    query = select(Workflow).where(
        Workflow.workspace_id == workspace_id,
        or_(Workflow.name == id_or_name, Workflow.id == as_id(id_or_name)),
    )
    return session.scalars(query.with_for_update() if lock else query).first()


def add(session: Session, workspace_id: str, name: str, at: datetime) -> str | None:
    """A new workflow whose first version is about to be appended: its id, or None when the name is taken."""
    workflow_id = uuid7()
    added = session.execute(
        insert(session, Workflow)
        .values(
            id=workflow_id,
            workspace_id=workspace_id,
            name=name,
            current_version=0,
            created_at=at,
            updated_at=at,
        )
        .on_conflict_do_nothing(index_elements=["workspace_id", "name"])
        .returning(Workflow.id)
    )
    return workflow_id if added.first() is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runnable:
    """What starting a run reads of a version of a workflow; its plan is in the process's cache."""

    workflow_id: str
    name: str
    archived_at: datetime | None
    version_id: str
    number: int
    estimated_cost_cents: int


# Two reads, each through an index of its own: of an OR that is forbidden a bitmap, PostgreSQL reads the workspace.
RUNNABLE = Prepared(
    "runnable",
    ("uuid", "text", "uuid", "int"),
    """
WITH named AS (
  SELECT id, name, archived_at, current_version FROM workflow WHERE workspace_id = $1 AND name = $2
  UNION ALL
  SELECT id, name, archived_at, current_version FROM workflow WHERE id = $3 AND workspace_id = $1 LIMIT 1
)
SELECT named.id::text, named.name, named.archived_at, version.id::text, version.number, version.estimated_cost_cents
FROM named JOIN workflow_version AS version
  ON version.workflow_id = named.id AND version.number = coalesce($4, named.current_version)
""",
)


def version(session: Session, workspace_id: str, id_or_name: str, number: int | None) -> Runnable | None:
    """A version of the workflow of a name or an id; None as number: the current one."""
    workflow_id = as_id(id_or_name)
    if session.get_bind().dialect.name != "sqlite":
        rows = RUNNABLE.rows(session, (workspace_id, id_or_name, workflow_id, number))
        row = rows[0] if rows else None
    else:
        query = (
            select(
                Workflow.id,
                Workflow.name,
                Workflow.archived_at,
                WorkflowVersion.id,
                WorkflowVersion.number,
                WorkflowVersion.estimated_cost_cents,
            )
            .join(WorkflowVersion, WorkflowVersion.workflow_id == Workflow.id)
            .where(
                Workflow.workspace_id == workspace_id,
                or_(Workflow.name == id_or_name, Workflow.id == workflow_id),
                WorkflowVersion.number == (Workflow.current_version if number is None else number),
            )
        )
        row = session.execute(query).first()
    if row is None:
        return None
    found_id, name, archived_at, version_id, found, estimate = row
    return Runnable(
        workflow_id=found_id,
        name=name,
        archived_at=archived_at,
        version_id=version_id,
        number=found,
        estimated_cost_cents=estimate,
    )


def numbered(session: Session, workflow_id: str, number: int) -> WorkflowVersion | None:
    """One version, whole."""
    return session.scalars(
        select(WorkflowVersion).where(
            WorkflowVersion.workflow_id == workflow_id, WorkflowVersion.number == number
        )
    ).first()


def versions(
    session: Session, workflow_id: str, *, before: int | None, limit: int
) -> Sequence[WorkflowVersion]:
    """Versions without definition and plan, newest first, after number `before`."""
    query = (
        select(WorkflowVersion)
        .options(*_LIGHT)
        .where(WorkflowVersion.workflow_id == workflow_id)
        .order_by(WorkflowVersion.number.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(WorkflowVersion.number < before)
    return session.scalars(query).all()


def page(
    session: Session, workspace_id: str, *, archived: bool, before: str | None, limit: int
) -> Sequence[Current]:
    """Workflows and their current versions (no definition, no plan), newest first, after id `before`."""
    query = (
        select(Workflow, WorkflowVersion)
        .join(
            WorkflowVersion,
            and_(
                WorkflowVersion.workflow_id == Workflow.id,
                WorkflowVersion.number == Workflow.current_version,
            ),
        )
        .options(*_LIGHT)
        .where(Workflow.workspace_id == workspace_id)
        .order_by(Workflow.id.desc())
        .limit(limit)
    )
    if not archived:
        query = query.where(Workflow.archived_at.is_(None))
    if before is not None:
        query = query.where(Workflow.id < before)
    return session.execute(query).all()
