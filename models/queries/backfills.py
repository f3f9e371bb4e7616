"""Backfills of schedules: made, taken while they have fire times left, finished."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import exists, func, insert, or_, select, update
from sqlalchemy.orm import Session

from models.base import uuid7
from models.queries import fires
from models.queries.runs import now
from models.run import Run
from models.schedule import ScheduleBackfill, ScheduleFire


def add(session: Session, values: Mapping[str, Any]) -> str:
    """Add a backfill of no fire times yet; its id."""
    row = insert(ScheduleBackfill).values(id=uuid7(), **values, total=0, created_at=now(session))
    return str(session.execute(row.returning(ScheduleBackfill.id)).scalar_one())


def set_total(session: Session, backfill_id: str, total: int) -> None:
    """How many fire times a backfill makes up."""
    session.execute(update(ScheduleBackfill).where(ScheduleBackfill.id == backfill_id).values(total=total))


def open_(session: Session, limit: int) -> Sequence[ScheduleBackfill]:
    """The backfills that can start a run, or finish, the oldest first: not those whose runs go on as it is."""
    of_it = ScheduleFire.schedule_id == ScheduleBackfill.schedule_id, ScheduleFire.backfill_id == ScheduleBackfill.id
    runs = select(func.count()).select_from(ScheduleFire).join(Run, Run.id == ScheduleFire.run_id)
    going = runs.where(*of_it, *fires.live(), Run.finished_at.is_(None)).scalar_subquery()
    waits = exists().where(ScheduleFire.backfill_id == ScheduleBackfill.id, ScheduleFire.outcome == "queued")
    query = select(ScheduleBackfill).where(
        ScheduleBackfill.finished_at.is_(None), going < ScheduleBackfill.max_parallel, or_(going == 0, waits)
    )
    return session.scalars(query.order_by(ScheduleBackfill.id).limit(limit)).all()


def get(session: Session, backfill_id: str) -> ScheduleBackfill:
    return session.get_one(ScheduleBackfill, backfill_id)


def page(session: Session, schedule_id: str, limit: int) -> Sequence[ScheduleBackfill]:
    """A schedule's backfills, newest first."""
    query = select(ScheduleBackfill).where(ScheduleBackfill.schedule_id == schedule_id)
    return session.scalars(query.order_by(ScheduleBackfill.id.desc()).limit(limit)).all()


def finish(session: Session, backfill_id: str) -> None:
    """Every run of a backfill has ended."""
    session.execute(
        update(ScheduleBackfill).where(ScheduleBackfill.id == backfill_id).values(finished_at=now(session))
    )
