"""Schedules: found, changed, and taken when they are due.

A schedule's row is locked before anything of a run that it starts.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, delete, or_, select, update
from sqlalchemy.orm import Session

from models.base import uuid7
from models.queries.dialect import as_id, insert
from models.queries.runs import now
from models.schedule import Schedule
from models.workflow import Workflow

Found = Row[Schedule, str]  # with the name of its workflow


def add(session: Session, values: Mapping[str, Any]) -> str | None:
    """Add a schedule; its id, None when the name is taken."""
    at = now(session)
    row = insert(session, Schedule).values(id=uuid7(), **values, created_at=at, updated_at=at)
    added = row.on_conflict_do_nothing(index_elements=["workspace_id", "name"]).returning(Schedule.id)
    return session.execute(added).scalar_one_or_none()


def find(session: Session, workspace_id: str, id_or_name: str) -> Found | None:
    """A schedule of a workspace, by id or name, with its workflow's name."""
    return session.execute(_named(workspace_id, id_or_name)).first()


def lock(session: Session, workspace_id: str, id_or_name: str) -> Found | None:
    """The same, for this transaction alone."""
    query = _named(workspace_id, id_or_name).with_for_update(of=Schedule)
    return session.execute(query.execution_options(populate_existing=True)).first()


def page(
    session: Session, workspace_id: str, *, workflow: str | None, after: str | None, limit: int
) -> Sequence[Found]:
    """Schedules by name, after one of them; `workflow`: of this one alone, by id or name."""
    query = _all().where(Schedule.workspace_id == workspace_id).order_by(Schedule.name).limit(limit)
    if workflow is not None:
        query = query.where(or_(Workflow.name == workflow, Workflow.id == as_id(workflow)))
    return session.execute(query if after is None else query.where(Schedule.name > after)).all()


def name_is_taken(session: Session, workspace_id: str, name: str, but: str) -> bool:
    """Whether another schedule than `but` has a name."""
    query = select(Schedule.id).where(
        Schedule.workspace_id == workspace_id, Schedule.name == name, Schedule.id != but
    )
    return session.execute(query).first() is not None


def change(session: Session, schedule_id: str, values: Mapping[str, Any]) -> None:
    """Write what is given of a schedule by a person."""
    session.execute(
        update(Schedule).where(Schedule.id == schedule_id).values(**values, updated_at=now(session))
    )


def note(session: Session, schedule_id: str, **values: Any) -> None:
    """Write what became of a schedule's fire times."""
    session.execute(update(Schedule).where(Schedule.id == schedule_id).values(**values))


def count(session: Session, schedule_id: str, outcome: str) -> None:
    """One fire time more that was `started`, `skipped` or `refused`."""
    column = getattr(Schedule, outcome)
    session.execute(update(Schedule).where(Schedule.id == schedule_id).values({outcome: column + 1}))


def remove(session: Session, schedule_id: str) -> None:
    """Remove a schedule with its fire times; its runs stay."""
    session.execute(delete(Schedule).where(Schedule.id == schedule_id))


def due(session: Session, at: datetime, limit: int) -> Sequence[str]:
    """The schedules that are due at a moment, the longest due first."""
    query = select(Schedule.id).where(Schedule.due_at.is_not(None), Schedule.due_at <= at)
    return session.scalars(query.order_by(Schedule.due_at).limit(limit)).all()


def take(session: Session, schedule_id: str) -> Schedule | None:
    """A schedule for this transaction alone; None where another has it, or it is gone."""
    query = select(Schedule).where(Schedule.id == schedule_id).with_for_update(skip_locked=True)
    return session.scalars(query.execution_options(populate_existing=True)).first()


def get(session: Session, schedule_id: str) -> Schedule | None:
    """A schedule by its id, of any workspace."""
    return session.scalars(select(Schedule).where(Schedule.id == schedule_id)).first()


def _all() -> Select[Schedule, str]:
    return select(Schedule, Workflow.name).join(Workflow, Workflow.id == Schedule.workflow_id)


def _named(workspace_id: str, id_or_name: str) -> Select[Schedule, str]:
    named = or_(Schedule.id == as_id(id_or_name), Schedule.name == id_or_name.lower())
    return _all().where(Schedule.workspace_id == workspace_id, named)
