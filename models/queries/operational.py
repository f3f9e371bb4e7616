"""Events of no run, and live chunks: written, and gone after a while."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from models.event import Chunk, OperationalEvent
from models.queries.runs import now

Table = type[OperationalEvent] | type[Chunk]


def note(session: Session, type_: str, about: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Write an event of one type for each (workspace id, data)."""
    if about:
        at = now(session)
        rows = [
            {"workspace_id": workspace, "type": type_, "at": at, "data": dict(data)} for workspace, data in about
        ]
        session.execute(insert(OperationalEvent).values(rows))


def any_before(session: Session, table: Table, before: float) -> bool:
    """Whether a table has rows from before a moment, in seconds since 1970."""
    query = select(table.id).where(table.at < datetime.fromtimestamp(before, UTC)).limit(1)
    return session.execute(query).first() is not None


def purge(session: Session, table: Table, before: float, limit: int) -> int:
    """Forget at most `limit` rows from before a moment, the oldest first; how many went."""
    old = select(table.id).where(table.at < datetime.fromtimestamp(before, UTC)).order_by(table.at).limit(limit)
    gone = session.execute(delete(table).where(table.id.in_(old)).returning(table.id))
    return len(gone.all())


def events(session: Session, workspace_id: str) -> Sequence[OperationalEvent]:
    """A workspace's events of no run, in order."""
    rows = select(OperationalEvent).where(OperationalEvent.workspace_id == workspace_id)
    return session.scalars(rows.order_by(OperationalEvent.id)).all()
