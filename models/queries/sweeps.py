"""What is due, found by partial indexes; every query takes a limit.

On SQLite a sweep looks in a read transaction first, and writes only what is due.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, func, or_, select, text
from sqlalchemy.orm import Session

from models.queries.going import GOES_ON
from models.run import Run
from models.states import OPEN, STARTING
from models.step import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class DueStep:
    """A step that something is due for."""

    run_id: str
    no: int
    path: str
    status: str
    attempt: int
    tries: int
    losses: int
    queue: str
    live_in: str | None


def due_steps() -> Select[*tuple[Any, ...]]:
    """A step that something is due for, as `DueStep` has it."""
    return select(
        Step.run_id,
        Step.no,
        Step.path,
        Step.status,
        Step.attempt,
        Step.tries,
        Step.losses,
        Step.queue,
        Step.live_in,
    )


def _all(session: Session, query: Select[*tuple[Any, ...]]) -> list[DueStep]:
    return [DueStep(**row._mapping) for row in session.execute(query)]


_NOW_SQLITE = text("SELECT db_now()")
_NOW_POSTGRESQL = text("SELECT extract(epoch FROM clock_timestamp())")


def clock(session: Session) -> float:
    """The database's now, in seconds since 1970."""
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    return float(session.execute(_NOW_SQLITE if is_sqlite else _NOW_POSTGRESQL).scalar_one())


def moment(session: Session) -> datetime:
    """The database's now."""
    return datetime.fromtimestamp(clock(session), UTC)


# 5 s after the first send, doubling to 5 min.
_RESEND_POSTGRESQL = "make_interval(secs => least(300, :first * power(2, least(step.sends, 10) - 1)))"
_RESEND_SQLITE = "min(300, :first * (1 << (min(step.sends, 10) - 1)))"
_UNSENT = """
SELECT step.run_id, step.no FROM step JOIN run ON run.id = step.run_id
WHERE step.status = 'queued' AND {goes_on}
  AND step.sent_at < {now} - {wait}
ORDER BY step.sent_at LIMIT :limit
"""
_LOOK_SQLITE = _UNSENT.format(now="db_now()", wait=_RESEND_SQLITE, goes_on=GOES_ON)
_TAKE_POSTGRESQL = f"""
UPDATE step SET sent_at = clock_timestamp(), sends = step.sends + 1, in_chord = false
FROM (
  {_UNSENT.format(now="clock_timestamp()", wait=_RESEND_POSTGRESQL, goes_on=GOES_ON)}
  FOR UPDATE OF step SKIP LOCKED
) due WHERE step.run_id = due.run_id AND step.no = due.no
RETURNING step.run_id, step.no, step.path, step.status, step.attempt, step.tries, step.losses, step.queue,
  step.live_in
"""  # noqa: S608 - put together from constants
_TAKE_SQLITE = """
UPDATE step SET sent_at = db_now(), sends = sends + 1, in_chord = 0
WHERE run_id = :run AND no = :no AND status = 'queued'
RETURNING run_id, no, path, status, attempt, tries, losses, queue, live_in
"""


def take_unsent(session: Session, limit: int, first: float) -> list[DueStep]:
    """Queued steps that were sent `first` seconds ago and not claimed; they are marked as sent again."""
    if session.get_bind().dialect.name != "sqlite":
        rows = session.execute(text(_TAKE_POSTGRESQL), {"limit": limit, "first": first})
        return [DueStep(**{**row._mapping, "run_id": str(row.run_id)}) for row in rows]
    found = session.execute(text(_LOOK_SQLITE), {"limit": limit, "first": first}).all()
    taken = [session.execute(text(_TAKE_SQLITE), {"run": run, "no": no}).one() for run, no in found]
    return [DueStep(**row._mapping) for row in taken]


def any_unsent(session: Session, first: float) -> bool:
    """Whether `take_unsent` would take anything: on SQLite, where only what is due may be written."""
    return session.execute(text(_LOOK_SQLITE), {"limit": 1, "first": first}).first() is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """How many steps of a queue are queued: sent and unclaimed, and not sent."""

    queue: str
    sent: int
    unsent: int


def backlogs(session: Session) -> list[Backlog]:
    """What is queued, by queue."""
    rows = session.execute(
        select(Step.queue, func.count(Step.sent_at).label("sent"), func.count().label("queued"))
        .where(Step.status == "queued")
        .group_by(Step.queue)
    )
    return [Backlog(queue=row.queue, sent=row.sent, unsent=row.queued - row.sent) for row in rows]


def expired_leases(session: Session, limit: int) -> list[DueStep]:
    """Running steps whose lease has run out, the oldest first."""
    # a moment, since no index is searched for a clock that may change its answer
    now = datetime.fromtimestamp(clock(session), UTC)
    return _all(
        session,
        due_steps()
        .where(Step.status == "running", Step.lease_until < now)
        .order_by(Step.lease_until)
        .limit(limit),
    )


def timed_out(session: Session, limit: int) -> list[DueStep]:
    """Steps whose attempt has outrun its timeout by a second, which its own worker has to end it.

    That of a parked attempt stands still while its run is paused, unless that is being stopped.
    """
    grace = clock(session) - 1.0
    return _all(
        session,
        due_steps()
        .join(Run, Run.id == Step.run_id)
        .where(
            Step.timeout_at.is_not(None),
            Step.timeout_at < datetime.fromtimestamp(grace, UTC),
            or_(Step.status == "running", Run.status.in_(STARTING), Run.stopping.is_not(None)),
        )
        .order_by(Step.timeout_at)
        .limit(limit),
    )


def due(session: Session, now: float, limit: int) -> list[DueStep]:
    """Retries and timers that are due by the virtual clock, in runs that go on."""
    return _all(
        session,
        due_steps()
        .join(Run, Run.id == Step.run_id)
        .where(
            Step.due_at.is_not(None),
            Step.due_at <= datetime.fromtimestamp(now, UTC),
            Run.status.in_(OPEN),
        )
        .order_by(Step.due_at)
        .limit(limit),
    )


def due_one(session: Session, run_id: str, no: int, attempt: int) -> DueStep | None:
    """A step that an in-process timer says is due, if this attempt still waits for it."""
    waits = due_steps().where(Step.run_id == run_id, Step.no == no, Step.attempt == attempt)
    found = _all(session, waits.where(Step.due_at.is_not(None)))
    return found[0] if found else None


def timed_out_runs(session: Session, now: float, limit: int) -> Sequence[str]:
    """Runs that have outrun their timeout; it stands still while a run is paused."""
    rows = session.execute(
        select(Run.id)
        .where(
            Run.status.in_(("pending", "running")),
            Run.stopping.is_(None),
            Run.timeout_at.is_not(None),
            Run.timeout_at <= datetime.fromtimestamp(now, UTC),
        )
        .order_by(Run.timeout_at)
        .limit(limit)
    )
    return [run_id for (run_id,) in rows]
