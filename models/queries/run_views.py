"""Reads of runs for people: one, a page, their steps, attempts and events. Nothing here locks or writes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select, true
from sqlalchemy.orm import Session

from models.event import Event
from models.queries.dialect import as_id
from models.run import Run, RunData, RunLabel
from models.step import Attempt, Step
from models.workflow import Workflow, WorkflowVersion

# Ids hold the creating process's clock, `created_at` the database's: an id narrows a filter by time this far.
CLOCKS_DIFFER = timedelta(hours=1)
Rows = TypeVar("Rows", bound=Select[Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs; None and () leave a criterion out. `workflow` is an id or a name."""

    workflow: str | None = None
    status: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    parent: str | None = None


def find(session: Session, workspace_id: str, run_id: str) -> Row[Run, RunData, str, int] | None:
    """A run, its data, its workflow's name and its version's number."""
    return session.execute(
        select(Run, RunData, Workflow.name, WorkflowVersion.number)
        .join(RunData, RunData.run_id == Run.id)
        .join(Workflow, Workflow.id == Run.workflow_id)
        .join(WorkflowVersion, WorkflowVersion.id == Run.version_id)
        .where(Run.workspace_id == workspace_id, Run.id == as_id(run_id))
    ).first()


def page(
    session: Session, workspace_id: str, wanted: RunFilter, *, before: str | None, limit: int
) -> Sequence[Row[Run, Any, str, int]]:
    """Runs with their labels, workflows' names and versions' numbers, newest first, after the id `before`."""
    query = (
        select(Run, RunData.labels, Workflow.name, WorkflowVersion.number)
        .join(RunData, RunData.run_id == Run.id)
        .join(Workflow, Workflow.id == Run.workflow_id)
        .join(WorkflowVersion, WorkflowVersion.id == Run.version_id)
        .where(Run.workspace_id == workspace_id)
        .order_by(Run.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(Run.id < before)
    return session.execute(narrowed(query, workspace_id, wanted)).all()


def narrowed(query: Rows, workspace_id: str, wanted: RunFilter) -> Rows:
    """A query of runs of a workspace, and of what goes with them, kept to those of a filter."""
    if wanted.workflow is not None:
        named = or_(Workflow.name == wanted.workflow, Workflow.id == as_id(wanted.workflow))
        mine = select(Workflow.id).where(Workflow.workspace_id == workspace_id, named)
        query = query.where(Run.workflow_id.in_(mine))
    if wanted.status is not None:
        query = query.where(Run.status == wanted.status)
    if wanted.parent is not None:
        query = query.where(Run.parent_run_id == (as_id(wanted.parent) or _NO_ID))
    for key, value in wanted.labels:
        labelled = select(RunLabel.run_id).where(
            RunLabel.workspace_id == workspace_id, RunLabel.key == key, RunLabel.value == value
        )
        query = query.where(Run.id.in_(labelled))
    if wanted.created_after is not None:
        earliest = first_id(wanted.created_after - CLOCKS_DIFFER)
        query = query.where(Run.created_at > wanted.created_after, Run.id >= earliest)
    if wanted.created_before is not None:
        latest = first_id(wanted.created_before + CLOCKS_DIFFER)
        query = query.where(Run.created_at < wanted.created_before, Run.id < latest)
    return query


_NO_ID = "00000000-0000-0000-0000-000000000000"


def first_id(at: datetime) -> str:
    """The lowest id of a moment."""
    digits = f"{max(0, int(at.timestamp() * 1000)):012x}"
    return f"{digits[:8]}-{digits[8:12]}-7000-8000-000000000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Which steps are no compensations: of `size` nodes of a plan the first `count`."""

    size: int
    count: int

    def holds(self) -> ColumnElement[bool]:
        return true() if self.size == self.count else Step.no % self.size < self.count


def step_counts(session: Session, run_id: str, forward: Forward) -> dict[str, int]:
    """How many steps of a run are in each status, without compensations."""
    rows = session.execute(
        select(Step.status, func.count())
        .where(Step.run_id == run_id, forward.holds())
        .group_by(Step.status)
    )
    return dict(rows.all())


def compensated(session: Session, run_id: str, limit: int) -> list[str]:
    """The paths of the steps that were undone, in the order in which they were."""
    query = select(Step.path).where(Step.run_id == run_id, Step.status == "compensated")
    return list(session.scalars(query.order_by(Step.finished_at, Step.no).limit(limit)))


def by_number(session: Session, run_id: str, nos: Collection[int]) -> Sequence[Step]:
    """The steps of these numbers."""
    return session.scalars(select(Step).where(Step.run_id == run_id, Step.no.in_(sorted(nos)))).all()


def statuses(session: Session, run_id: str) -> dict[str, str]:
    """Each step's status by its path."""
    rows = session.execute(select(Step.path, Step.status).where(Step.run_id == run_id))
    return dict(rows.all())


def steps(
    session: Session, run_id: str, forward: Forward, *, after: int, limit: int
) -> Sequence[Step]:
    """Steps by number, after number `after`, without compensations."""
    mine = select(Step).where(Step.run_id == run_id, Step.no > after, forward.holds())
    query = mine.order_by(Step.no).limit(limit)
    return session.scalars(query).all()


def step(session: Session, run_id: str, path: str) -> Step | None:
    """The step of a path."""
    return session.scalars(select(Step).where(Step.run_id == run_id, Step.path == path)).first()


def attempts(session: Session, run_id: str, nos: Collection[int]) -> Sequence[Row[Any]]:
    """Every attempt of these steps but its output, by step and number."""
    return session.execute(
        select(
            Attempt.no,
            Attempt.number,
            Attempt.status,
            Attempt.worker,
            Attempt.claimed_at,
            Attempt.begun_at,
            Attempt.finished_at,
            Attempt.resolved,
            Attempt.error,
            Attempt.agent,
            Attempt.model,
            Attempt.tokens_in,
            Attempt.tokens_out,
            Attempt.cost_microcents,
        )
        .where(and_(Attempt.run_id == run_id, Attempt.no.in_(sorted(nos))))
        .order_by(Attempt.no, Attempt.number)
    ).all()


def attempt_outputs(session: Session, run_id: str, no: int) -> dict[int, Any]:
    """What each attempt of a step gave, by its number."""
    rows = session.execute(
        select(Attempt.number, Attempt.output).where(
            Attempt.run_id == run_id, Attempt.no == no, Attempt.output.is_not(None)
        )
    )
    return dict(rows.all())


def events(
    session: Session, run_id: str, *, after: int, limit: int, upto: int | None = None
) -> Sequence[Event]:
    """Events of a run by number, from after `after` to `upto`."""
    query = select(Event).where(Event.run_id == run_id, Event.seq > after).order_by(Event.seq).limit(limit)
    if upto is not None:
        query = query.where(Event.seq <= upto)
    return session.scalars(query).all()


def workspace(session: Session, run_id: str) -> str | None:
    """The workspace of a run; None where there is no such run."""
    return session.execute(select(Run.workspace_id).where(Run.id == run_id)).scalar_one_or_none()


def head(session: Session, workspace_id: str, run_id: str) -> Row[str, int, str] | None:
    """Id, last event's number and status of a run of the workspace."""
    query = select(Run.id, Run.seq, Run.status)
    return session.execute(query.where(Run.workspace_id == workspace_id, Run.id == as_id(run_id))).first()
