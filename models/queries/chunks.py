"""What steps stream: written for a minute, read by those who follow their runs now."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import func, insert, select, text
from sqlalchemy.orm import Session

from models.event import Chunk
from models.queries.runs import now

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('chunk', 0))"


def add(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Write chunks {run_id, type, step, data} in this order.

    Writers take turns until they commit, so that ids grow in the order of commits: who has read up to an id has
    missed nothing below it. On SQLite a write transaction is a turn already.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(_LOCK))
    session.execute(insert(Chunk).values(at=now(session)), list(rows))


def after(session: Session, after: int, run_ids: Collection[str], limit: int) -> Sequence[Chunk]:
    """Chunks of these runs with ids above `after`, by id."""
    query = select(Chunk).where(Chunk.run_id.in_(sorted(run_ids)), Chunk.id > after)
    return session.scalars(query.order_by(Chunk.id).limit(limit)).all()


def last(session: Session) -> int:
    """The id of the newest chunk, 0 where there is none."""
    return int(session.execute(select(func.max(Chunk.id))).scalar_one() or 0)
