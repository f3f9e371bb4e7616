"""Answers kept for repeats of a write, by workspace and key."""

from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.orm import Session

from models.operation import IdempotentAnswer
from models.queries.dialect import insert


def claim(
    session: Session, *, workspace_id: str, key: str, digest: str, at: datetime, expired: datetime
) -> bool:
    """Take the key for this transaction's write; False when a live answer holds it.

    A concurrent twin waits here, on the primary key (PostgreSQL) or the write lock (SQLite), until the first
    has committed or rolled back. An answer from before `expired` is taken over.
    """
    fresh = {"digest": digest, "status": 0, "body": {}, "headers": {}, "created_at": at}
    claimed = session.execute(
        insert(session, IdempotentAnswer)
        .values(workspace_id=workspace_id, key=key, **fresh)
        .on_conflict_do_update(
            index_elements=["workspace_id", "key"],
            set_=fresh,
            where=IdempotentAnswer.created_at < expired,
        )
        .returning(IdempotentAnswer.key)
    )
    return claimed.first() is not None


def kept(session: Session, workspace_id: str, key: str) -> IdempotentAnswer:
    """The answer that holds the key."""
    return session.get_one(IdempotentAnswer, (workspace_id, key))


def find(session: Session, workspace_id: str, key: str, since: datetime) -> IdempotentAnswer | None:
    """The answer that holds a key, if it is kept from `since` or later."""
    row = session.get(IdempotentAnswer, (workspace_id, key))
    return None if row is None or row.created_at < since else row


def keep(session: Session, workspace_id: str, key: str, *, status: int, body: Any) -> None:
    """Write down the answer of the write that claimed the key."""
    session.execute(
        update(IdempotentAnswer)
        .where(IdempotentAnswer.workspace_id == workspace_id, IdempotentAnswer.key == key)
        .values(status=status, body=body)
    )


def any_before(session: Session, expired: datetime) -> bool:
    """Whether there are answers from before `expired`."""
    query = select(IdempotentAnswer.created_at).where(IdempotentAnswer.created_at < expired).limit(1)
    return session.execute(query).first() is not None


def purge(session: Session, expired: datetime, limit: int = 1000) -> int:
    """Forget answers from before `expired`, at most `limit`; how many went."""
    names = (IdempotentAnswer.workspace_id, IdempotentAnswer.key)
    old = select(*names).where(IdempotentAnswer.created_at < expired).limit(limit)
    gone = session.execute(delete(IdempotentAnswer).where(tuple_(*names).in_(old)).returning(names[1]))
    return len(gone.all())
