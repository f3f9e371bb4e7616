"""The attempts of a run in the order they began, and the events that tell what they waited for."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, func, literal, or_, select
from sqlalchemy.orm import Session

from models.base import Moment
from models.event import Event
from models.run import Run
from models.step import Attempt, Step

_TOLD = (
    "step.queued",
    "step.started",
    "step.waiting",
    "step.resumed",
    "step.retrying",
    "step.completed",
    "step.failed",
    "step.aborted",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an attempt stands in the order."""

    at: datetime
    no: int
    number: int


def attempts(session: Session, run: Run, *, after: Place | None, limit: int) -> Sequence[Row[Any]]:
    """Attempts with their steps' paths, by when they began, after a place; `at` is that moment."""
    began = func.coalesce(
        Attempt.claimed_at, Attempt.begun_at, Attempt.finished_at, literal(run.created_at, Moment)
    )
    query: Any = (
        select(
            began.label("at"),
            Step.path,
            Attempt.no,
            Attempt.number,
            Attempt.status,
            Attempt.claimed_at,
            Attempt.begun_at,
            Attempt.finished_at,
            Attempt.agent,
            Attempt.model,
            Attempt.tokens_in,
            Attempt.tokens_out,
            Attempt.cost_microcents,
        )
        .join(Step, and_(Step.run_id == Attempt.run_id, Step.no == Attempt.no))
        .where(Attempt.run_id == run.id)
        .order_by(began, Attempt.no, Attempt.number)
        .limit(limit)
    )
    if after is not None:
        later = and_(Attempt.no == after.no, Attempt.number > after.number)
        at = literal(after.at, Moment)
        query = query.where(or_(began > at, and_(began == at, or_(Attempt.no > after.no, later))))
    found: Sequence[Row[Any]] = session.execute(query).all()
    return found


def told(session: Session, run_id: str, paths: Collection[str]) -> Sequence[Row[Any]]:
    """Type, step, time and data of these steps' own events, in order."""
    return session.execute(
        select(Event.type, Event.step, Event.at, Event.data)
        .where(Event.run_id == run_id, Event.step.in_(sorted(paths)), Event.type.in_(_TOLD))
        .order_by(Event.seq)
    ).all()
