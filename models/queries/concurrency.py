"""Runs of one concurrency key: counted in their rows, never in a counter.

Who starts or admits a run of a key first waits for `lanes.wait` of it, before any run's lock.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from models.run import Run


def _live(key: str) -> tuple[ColumnElement[bool], ...]:
    return Run.concurrency_key == key, Run.finished_at.is_(None)


def started(session: Session, key: str) -> int:
    """How many runs of a key have started and not ended."""
    query = select(func.count()).where(*_live(key), Run.status != "pending")
    return int(session.execute(query).scalar_one())


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A run that waits for its turn."""

    id: str
    version_id: str


def next_(session: Session, key: str) -> Waiting | None:
    """The waiting run of a key that starts next: of the highest priority, then the oldest."""
    row = session.execute(
        select(Run.id, Run.version_id)
        .where(*_live(key), Run.status == "pending", Run.stopping.is_(None))
        .order_by(Run.priority.desc(), Run.id)
        .limit(1)
    ).one_or_none()
    return None if row is None else Waiting(id=row.id, version_id=row.version_id)


def ahead(session: Session, key: str, run_id: str, priority: int) -> int:
    """How many runs of a key start before a waiting one of this priority."""
    query = select(func.count()).where(*_live(key), Run.status == "pending", Run.stopping.is_(None))
    before = (Run.priority > priority) | ((Run.priority == priority) & (Run.id < run_id))
    return int(session.execute(query.where(before)).scalar_one())


def surplus(session: Session, key: str, limit: int) -> Sequence[str]:
    """The runs of a key that go on beside the newest `limit`, the oldest first."""
    query = select(Run.id).where(*_live(key), Run.stopping.is_(None)).order_by(Run.id.desc()).offset(limit)
    return list(reversed(session.scalars(query).all()))


def keys(session: Session, limit: int) -> Sequence[str]:
    """The keys for which runs wait."""
    query = select(Run.concurrency_key).where(
        Run.concurrency_key.is_not(None), Run.finished_at.is_(None), Run.status == "pending"
    )
    return [key for key in session.scalars(query.distinct().limit(limit)) if key is not None]
