"""Signals: kept, matched with the steps that wait for them, each taken once.

Signals of a run and what its steps wait for are written under the run's lock; those of a key under the lock of
that key besides. Lock order: run, key.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, and_, exists, insert, or_, select, text, update
from sqlalchemy.orm import Session

from models.base import uuid7
from models.queries.runs import now
from models.run import Run
from models.signal import AwaitedSignal, Signal
from models.step import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiter:
    """An attempt that waits for a signal."""

    run_id: str
    no: int
    attempt: int
    path: str
    schema: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A signal that came before anything waited for it."""

    id: str
    data: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What there is for an attempt that waits: its signal, or the end of its time."""

    name: str
    is_there: bool
    data: Any
    expires_at: datetime | None
    expired: bool


def lock_key(session: Session, workspace_id: str, name: str, key: str) -> None:
    """Let no other transaction send or wait for signals of this key until this one ends."""
    if session.get_bind().dialect.name == "postgresql":
        whole = f"signal:{workspace_id}:{name}:{key}"
        session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": whole})


def wait(session: Session, values: dict[str, Any]) -> None:
    """Note what an attempt waits for; `values` are the columns of AwaitedSignal but `awaited_at`."""
    session.execute(insert(AwaitedSignal).values(**values, awaited_at=now(session)))


def waiters(
    session: Session, workspace_id: str, name: str, at: float, *, run_id: str | None = None, key: str | None = None
) -> list[Waiter]:
    """Who waits for a signal to a run, or of a key; who has waited longest comes first.

    at: virtual seconds since 1970; whose time is over then waits no more.
    """
    query = (
        select(Step.run_id, Step.no, Step.attempt, Step.path, AwaitedSignal.schema)
        .select_from(AwaitedSignal)
        .join(Step, and_(Step.run_id == AwaitedSignal.run_id, Step.no == AwaitedSignal.no))
        .join(Run, Run.id == AwaitedSignal.run_id)
        .where(
            AwaitedSignal.workspace_id == workspace_id,
            AwaitedSignal.name == name,
            AwaitedSignal.expired.is_(False),
            or_(
                AwaitedSignal.expires_at.is_(None), AwaitedSignal.expires_at > datetime.fromtimestamp(at, UTC)
            ),
            Step.attempt == AwaitedSignal.attempt,
            Step.status == "waiting",
            Run.stopping.is_(None),
            ~exists().where(
                Signal.taken_run_id == AwaitedSignal.run_id,
                Signal.taken_no == AwaitedSignal.no,
                Signal.taken_attempt == AwaitedSignal.attempt,
            ),
        )
        .order_by(AwaitedSignal.awaited_at, AwaitedSignal.no)
    )
    query = query.where(AwaitedSignal.run_id == run_id) if run_id else query.where(AwaitedSignal.key == key)
    return [Waiter(**row._mapping) for row in session.execute(query)]


def kept(session: Session, workspace_id: str, run_id: str, name: str, key: str | None) -> list[Kept]:
    """The signals that came before, to the run or of the key; the oldest comes first."""
    fits = Signal.run_id == run_id
    if key is not None:
        fits = or_(fits, Signal.key == key)
    query = (
        select(Signal.id, Signal.data)
        .where(Signal.workspace_id == workspace_id, Signal.name == name, Signal.taken_run_id.is_(None), fits)
        .order_by(Signal.sent_at, Signal.id)
    )
    return [Kept(id=row.id, data=row.data) for row in session.execute(query)]


def known(
    session: Session, workspace_id: str, name: str, sender_id: str, *, run_id: str | None, key: str | None
) -> Signal | None:
    """The signal that came under the sender's own number before."""
    to = Signal.run_id == run_id if run_id else and_(Signal.workspace_id == workspace_id, Signal.key == key)
    query = select(Signal).where(to, Signal.name == name, Signal.sender_id == sender_id)
    return session.scalars(query).first()


def add(session: Session, values: dict[str, Any], waiter: Waiter | None) -> None:
    """Write a signal, for who waits for it, or to be kept. `values`: its columns but times and who takes it."""
    taken = _taken(waiter.run_id, waiter.no, waiter.attempt) if waiter is not None else {}
    session.execute(insert(Signal).values(id=uuid7(), sent_at=now(session), **values, **taken))


def take(session: Session, signal_id: str, run_id: str, no: int, attempt: int) -> None:
    """Give a kept signal to an attempt; the caller holds the locks."""
    session.execute(
        update(Signal)
        .where(Signal.id == signal_id, Signal.taken_run_id.is_(None))
        .values(**_taken(run_id, no, attempt))
    )


def answer(session: Session, run_id: str, no: int, attempt: int) -> Answer | None:
    """What there is for an attempt; None where it waits for no signal."""
    row = session.execute(_answered(run_id, no, attempt)).one_or_none()
    if row is None:
        return None
    awaited, signal = row
    return Answer(
        name=awaited.name,
        is_there=signal is not None,
        data=None if signal is None else signal.data,
        expires_at=awaited.expires_at,
        expired=awaited.expired,
    )


def expire(session: Session, run_id: str, no: int, attempt: int) -> None:
    """An attempt's time is over: no signal is for it any more. The caller holds the run's lock."""
    session.execute(
        update(AwaitedSignal)
        .where(AwaitedSignal.run_id == run_id, AwaitedSignal.no == no, AwaitedSignal.attempt == attempt)
        .values(expired=True)
        .execution_options(synchronize_session=False)
    )


def of_run(session: Session, run_id: str) -> Sequence[AwaitedSignal]:
    """All that steps of a run have waited for."""
    return session.scalars(select(AwaitedSignal).where(AwaitedSignal.run_id == run_id)).all()


def taken_by(session: Session, run_id: str) -> Sequence[Signal]:
    """The signals that steps of a run have taken."""
    return session.scalars(select(Signal).where(Signal.taken_run_id == run_id)).all()


def _taken(run_id: str, no: int, attempt: int) -> dict[str, Any]:
    return {"taken_run_id": run_id, "taken_no": no, "taken_attempt": attempt}


def _answered(run_id: str, no: int, attempt: int) -> Select[AwaitedSignal, Signal]:
    is_its = and_(
        Signal.taken_run_id == AwaitedSignal.run_id,
        Signal.taken_no == AwaitedSignal.no,
        Signal.taken_attempt == AwaitedSignal.attempt,
    )
    return (
        select(AwaitedSignal, Signal)
        .outerjoin(Signal, is_its)
        .where(AwaitedSignal.run_id == run_id, AwaitedSignal.no == no, AwaitedSignal.attempt == attempt)
        .execution_options(populate_existing=True)
    )
