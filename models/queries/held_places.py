"""Places in the journal of readers that work outside of transactions: held by a lease, moved by compare-and-set."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from models.event import Subscriber
from models.queries import subscribers, sweeps
from models.queries.journal import Cursor


def hold(session: Session, name: str, holder: str, seconds: float) -> Cursor | None:
    """Have a subscriber's place alone for some seconds; None while another one has it.

    A new one begins at the journal's end.
    """
    if subscribers.look(session, name) is None:
        subscribers.take(session, name)
    free = or_(Subscriber.lease_until.is_(None), Subscriber.lease_until < _in(session, 0.0))
    held = update(Subscriber).where(Subscriber.name == name, or_(free, Subscriber.holder == holder))
    held = held.values(holder=holder, lease_until=_in(session, seconds))
    found = session.execute(held.returning(Subscriber.cursor)).scalar_one_or_none()
    return None if found is None else Cursor.parse(found)


def go_on(session: Session, name: str, holder: str, cursors: tuple[Cursor, Cursor], seconds: float) -> bool:
    """Move a held place from a cursor to a later one, and hold it on; False where it is not ours any more."""
    before, after = (str(cursor) for cursor in cursors)
    ours = update(Subscriber).where(
        Subscriber.name == name, Subscriber.holder == holder, Subscriber.cursor == before
    )
    at = _in(session, 0.0)
    moved = ours.values(cursor=after, moved_at=at, lease_until=at + timedelta(seconds=seconds), error=None)
    return session.execute(moved.returning(Subscriber.name)).first() is not None


def let_go(session: Session, name: str, holder: str, error: str | None = None, rest: float = 0.0) -> None:
    """Give a place back; with an error, nobody is to have it for `rest` seconds."""
    until = None if error is None else _in(session, rest)
    ours = update(Subscriber).where(Subscriber.name == name, Subscriber.holder == holder)
    session.execute(ours.values(holder=None, lease_until=until, error=error))


def error(session: Session, name: str) -> str | None:
    """Why a subscriber could not go on, None where it could."""
    return session.execute(select(Subscriber.error).where(Subscriber.name == name)).scalar_one_or_none()


def _in(session: Session, seconds: float) -> datetime:
    return datetime.fromtimestamp(sweeps.clock(session) + seconds, UTC)
