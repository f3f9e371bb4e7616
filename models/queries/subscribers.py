"""How far each reader of the journal has come: a row each, moved in the transaction of what it did with it."""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models.event import Subscriber
from models.queries import dialect, journal
from models.queries.journal import Cursor
from models.queries.runs import now


def take(session: Session, name: str) -> Cursor | None:
    """A subscriber's place, alone until the transaction ends; None: another is at it.

    A new one begins at the journal's end.
    """
    query = select(Subscriber.cursor).where(Subscriber.name == name).with_for_update(skip_locked=True)
    found = session.execute(query).scalar_one_or_none()
    if found is None and begin(session, name):
        found = session.execute(query).scalar_one_or_none()
    return None if found is None else Cursor.parse(found)


def begin(session: Session, name: str) -> bool:
    """Let a subscriber that is new begin at the journal's end: nothing that comes after is missed, however late its
    first look. Whether it was new.
    """
    if look(session, name) is not None:
        return False
    values = {"name": name, "cursor": str(journal.end(session)), "moved_at": now(session)}
    session.execute(dialect.insert(session, Subscriber).values(**values).on_conflict_do_nothing())
    return True


def look(session: Session, name: str) -> Cursor | None:
    """A subscriber's place; None before its first time."""
    found = session.execute(select(Subscriber.cursor).where(Subscriber.name == name)).scalar_one_or_none()
    return None if found is None else Cursor.parse(found)


def move(session: Session, name: str, cursor: Cursor) -> None:
    """Go on from here the next time; the caller took the place in this transaction."""
    moved = update(Subscriber).where(Subscriber.name == name)
    session.execute(moved.values(cursor=str(cursor), moved_at=now(session)))
