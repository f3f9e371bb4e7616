"""Effects that wait until they are done."""

from collections.abc import Collection, Sequence
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
    data: Any = None


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
    return Entry(
        id=row.id,
        kind=row.kind,
        run_id=row.run_id,
        no=row.no,
        attempt=row.attempt,
        tries=row.tries,
        data=row.data,
    )


def done(session: Session, entry_id: int) -> None:
    """An effect was carried out."""
    session.execute(delete(Outbox).where(Outbox.id == entry_id))


def take(session: Session, entry_id: int) -> bool:
    """Take an effect in the transaction that carries it out; False when it is done.

    Whoever takes it while another does waits for the other's end.
    """
    row = session.execute(delete(Outbox).where(Outbox.id == entry_id).returning(Outbox.id))
    return row.first() is not None


def hold(session: Session, entry_id: int, holder: str, now: float, until: float) -> bool:
    """Hold an effect alone until then, or longer than before; False when it is done or another holds it.

    Times are in seconds since 1970. Its data is {holder, until} from now on: for kinds that have none.
    """
    found = session.execute(select(Outbox.data).where(Outbox.id == entry_id).with_for_update()).first()
    if found is None:
        return False
    held = found.data or {}
    if held.get("holder") not in (None, holder) and held["until"] > now:
        return False
    lease = {"holder": holder, "until": until}
    session.execute(update(Outbox).where(Outbox.id == entry_id).values(data=lease))
    return True


def let_go(session: Session, entry_id: int, holder: str) -> None:
    """An effect was not carried out by who held it: another may try."""
    found = session.execute(select(Outbox.data).where(Outbox.id == entry_id).with_for_update()).first()
    if found is not None and (found.data or {}).get("holder") == holder:
        session.execute(update(Outbox).where(Outbox.id == entry_id).values(data={}))


def of_attempt(session: Session, kind: str, run_id: str, no: int, attempt: int) -> Entry | None:
    """An effect of a step's attempt that is still to be done."""
    named = (Outbox.kind == kind, Outbox.run_id == run_id, Outbox.no == no, Outbox.attempt == attempt)
    found = session.execute(select(Outbox.id).where(*named)).scalar_one_or_none()
    return None if found is None else get(session, found)


def any_of_run(session: Session, kind: str, run_id: str) -> bool:
    """Whether an effect of a kind is still to be done for a run."""
    found = select(Outbox.id).where(Outbox.run_id == run_id, Outbox.kind == kind)
    return session.execute(found.limit(1)).first() is not None


def await_taken(session: Session, kind: str, run_id: str) -> None:
    """Wait until no effect of this kind and run is in the middle of being carried out."""
    session.execute(
        select(Outbox.id).where(Outbox.kind == kind, Outbox.run_id == run_id).with_for_update()
    ).all()


def any_due(session: Session, now: float, kinds: Collection[str]) -> bool:
    """Whether `take_due` would take anything: on SQLite, where only what is due may be written."""
    due = select(Outbox.id).where(Outbox.due_at <= datetime.fromtimestamp(now, UTC), Outbox.kind.in_(kinds))
    return session.execute(due.limit(1)).first() is not None


def take_due(session: Session, now: float, limit: int, kinds: Collection[str]) -> Sequence[int]:
    """The ids of effects of these kinds that are due.

    Each is put off (5 s, doubling to 5 min) so that it is sent once.
    """
    moment = datetime.fromtimestamp(now, UTC)
    rows = session.execute(
        select(Outbox.id, Outbox.tries)
        .where(Outbox.due_at <= moment, Outbox.kind.in_(kinds))
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
