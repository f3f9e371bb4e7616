"""Effects that wait until they are done."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from models.outbox import Outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One effect to carry out."""

    id: int
    kind: str
    run_id: str
    no: int
    attempt: int
    tries: int


def add(session: Session, kind: str, run_id: str, no: int, attempt: int, data: Any, at: float) -> int:
    """Note an effect in the transaction that decides it; `at` is seconds since 1970. Its id."""
    moment = datetime.fromtimestamp(at, UTC)
    row = session.execute(
        insert(Outbox)
        .values(
            kind=kind,
            run_id=run_id,
            no=no,
            attempt=attempt,
            data=data,
            tries=0,
            created_at=moment,
            due_at=moment + timedelta(seconds=5),
        )
        .returning(Outbox.id)
    )
    return int(row.scalar_one())


def get(session: Session, entry_id: int) -> Entry | None:
    """An effect that is still to be done."""
    row = session.get(Outbox, entry_id)
    if row is None:
        return None
    return Entry(id=row.id, kind=row.kind, run_id=row.run_id, no=row.no, attempt=row.attempt, tries=row.tries)


def done(session: Session, entry_id: int) -> None:
    """An effect was carried out."""
    session.execute(delete(Outbox).where(Outbox.id == entry_id))


def take_due(session: Session, now: float, limit: int) -> Sequence[int]:
    """The ids of effects that are due; each is put off (5 s, doubling to 5 min) so that it is sent once."""
    moment = datetime.fromtimestamp(now, UTC)
    rows = session.execute(
        select(Outbox.id, Outbox.tries)
        .where(Outbox.due_at <= moment)
        .order_by(Outbox.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for entry_id, tries in rows:
        wait = timedelta(seconds=min(300, 5 * 2**tries))
        session.execute(
            update(Outbox).where(Outbox.id == entry_id).values(tries=tries + 1, due_at=moment + wait)
        )
    return [entry_id for entry_id, _ in rows]
