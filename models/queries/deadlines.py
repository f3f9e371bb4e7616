"""Until when a step with all its attempts, and a handler without a heartbeat, are waited for."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult, or_, select, update
from sqlalchemy.orm import Session

from models.queries.sweeps import DueStep, due_steps, moment
from models.run import Run
from models.step import Step

_ENDS = ("queued", "running", "waiting", "retrying")


def put(session: Session, run_id: str, no: int, at: float) -> None:
    """A step with all its attempts is waited for until `at`, seconds since 1970 by the virtual clock."""
    own = update(Step).where(Step.run_id == run_id, Step.no == no)
    session.execute(own.values(deadline_at=datetime.fromtimestamp(at, UTC)))


def of(session: Session, run_id: str, no: int) -> float | None:
    """Until when a step is waited for, seconds since 1970 by the virtual clock."""
    at = session.execute(
        select(Step.deadline_at).where(Step.run_id == run_id, Step.no == no)
    ).scalar_one()
    return None if at is None else float(at.timestamp())


def put_off(session: Session, run_id: str, seconds: float) -> None:
    """A run was paused for so long, by the virtual clock: its steps' deadlines have stood still."""
    open_ = (Step.run_id == run_id, Step.deadline_at.is_not(None), Step.finished_at.is_(None))
    for no, at in session.execute(select(Step.no, Step.deadline_at).where(*open_)).all():
        if at is not None:
            put(session, run_id, no, at.timestamp() + seconds)


def passed(session: Session, now: float, limit: int) -> list[DueStep]:
    """Steps that are still open at their deadline; it stands still while the run is paused."""
    query = (
        due_steps()
        .join(Run, Run.id == Step.run_id)
        .where(
            Step.deadline_at.is_not(None),
            Step.finished_at.is_(None),
            Step.deadline_at <= datetime.fromtimestamp(now, UTC),
            Step.status.in_(_ENDS),
            or_(Run.status == "running", Run.stopping.is_not(None)),
        )
        .order_by(Step.deadline_at)
        .limit(limit)
    )
    return [DueStep(**row._mapping) for row in session.execute(query)]


def beat(session: Session, run_id: str, no: int, attempt: int, seconds: float) -> bool:
    """An attempt is alive, and waited for so many seconds more; False where it is not running any more."""
    own = (Step.run_id == run_id, Step.no == no, Step.attempt == attempt, Step.status == "running")
    until = moment(session) + timedelta(seconds=seconds)
    done: CursorResult[Any] = session.execute(  # type: ignore[assignment]
        update(Step).where(*own).values(beat_until=until)
    )
    return bool(done.rowcount)


def silent(session: Session, limit: int) -> list[DueStep]:
    """Attempts that run and have given no heartbeat for too long."""
    query = (
        due_steps()
        .where(
            Step.beat_until.is_not(None),
            Step.lease_until.is_not(None),
            Step.beat_until < moment(session),
            Step.status == "running",
        )
        .order_by(Step.beat_until)
        .limit(limit)
    )
    return [DueStep(**row._mapping) for row in session.execute(query)]


def is_silent(session: Session, run_id: str, no: int) -> bool:
    """Whether a step's handler still is."""
    until = select(Step.beat_until).where(Step.run_id == run_id, Step.no == no, Step.status == "running")
    at = session.execute(until).scalar_one_or_none()
    return at is not None and at < moment(session)
