"""Parked steps that wait for an agent: each in the lane of its demand, lower ranks first, then as they came.

A waiting step has a lane only while nobody has taken it up (models.queries.transitions empties it with the move).
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import CursorResult, and_, delete, exists, select, text, update
from sqlalchemy.orm import Session

from models.agent import Work
from models.queries.going import GOES_ON
from models.run import Run
from models.step import Attempt, Step

_WAITS = "step.status = 'waiting' AND step.lane"
# The next lane after one, again and again: the index is not read step by step. A prefix begins with an id of a
# fixed length, so that the lanes that it begins stand together in the order of any collation.
_LANES = f"""
WITH RECURSIVE found(lane) AS (
  SELECT (SELECT step.lane FROM step WHERE {_WAITS} >= :prefix AND step.lane > :after ORDER BY step.lane LIMIT 1)
  UNION ALL
  SELECT (SELECT step.lane FROM step WHERE {_WAITS} > found.lane ORDER BY step.lane LIMIT 1)
  FROM found WHERE found.lane IS NOT NULL AND substr(found.lane, 1, :length) = :prefix
) SELECT lane FROM found WHERE lane IS NOT NULL AND substr(lane, 1, :length) = :prefix LIMIT :limit
"""  # noqa: S608 - put together from constants
# From a workspace to the next: its lanes are its id and a slash, and a letter past all that can follow skips them
# in any collation.
_WORKSPACES = f"""
WITH RECURSIVE found(lane) AS (
  SELECT (SELECT step.lane FROM step WHERE {_WAITS} > '' ORDER BY step.lane LIMIT 1)
  UNION ALL
  SELECT (
    SELECT step.lane FROM step WHERE {_WAITS} > substr(found.lane, 1, 36) || 'z' ORDER BY step.lane LIMIT 1
  )
  FROM found WHERE found.lane IS NOT NULL
) SELECT substr(lane, 1, 36) FROM found WHERE lane IS NOT NULL
"""  # noqa: S608 - put together from constants
_ANY = f"SELECT step.lane FROM step WHERE {_WAITS} >= :prefix ORDER BY step.lane LIMIT 1"  # noqa: S608
_HEADS = f"""
SELECT step.run_id, step.no, step.path, step.attempt, step.queue, step.rank, step.queued_at
FROM step JOIN run ON run.id = step.run_id
WHERE {_WAITS} = :lane AND {GOES_ON}
  AND NOT EXISTS (
    SELECT 1 FROM work WHERE work.run_id = step.run_id AND work.no = step.no AND work.claimed_by IS NOT NULL
  )
ORDER BY step.rank, step.queued_at, step.no LIMIT :limit
"""  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class Unserved:
    """A step that waits for an agent."""

    run_id: str
    no: int
    path: str
    attempt: int
    queue: str
    rank: int
    queued_at: Any

    @property
    def place(self) -> tuple[int, Any, int]:
        """Where it stands among others: the lowest goes first."""
        return self.rank, self.queued_at, self.no


def line_up(session: Session, run_id: str, no: int, lane: str, rank: int) -> None:
    """A step that was parked waits in a lane; it is at no agent."""
    own = update(Step).where(Step.run_id == run_id, Step.no == no, Step.status == "waiting")
    session.execute(own.values(lane=lane, rank=rank, agent_id=None))


def any_waits(session: Session, prefix: str = "") -> bool:
    """Whether a step waits in a lane of those that begin so: one probe of the index."""
    first = session.execute(text(_ANY), {"prefix": prefix}).scalar()
    return first is not None and first.startswith(prefix)


def workspaces(session: Session) -> list[str]:
    """The ids of the workspaces in which steps wait: a probe of the index for each, however many lanes it has."""
    return list(session.execute(text(_WORKSPACES)).scalars())


def lanes(session: Session, limit: int, prefix: str = "", after: str = "") -> list[str]:
    """The lanes in which steps wait, of those that begin so: a page of them, from the one that follows `after`."""
    values = {"prefix": prefix, "length": len(prefix), "limit": limit, "after": after}
    return list(session.execute(text(_LANES), values).scalars())


def heads(session: Session, lane: str, limit: int) -> list[Unserved]:
    """The steps that go next in a lane, of runs that go on."""
    rows = session.execute(text(_HEADS), {"lane": lane, "limit": limit})
    return [Unserved(**{**row._mapping, "run_id": str(row.run_id)}) for row in rows]


def withdraw(session: Session, step: Unserved) -> bool:
    """Take back what a step offers to agents that claim their work; False where one has claimed it."""
    own = (Work.run_id == step.run_id, Work.no == step.no)
    session.execute(delete(Work).where(*own, Work.claimed_by.is_(None)))
    return session.execute(select(Work.no).where(*own)).first() is None


def offered(session: Session, run_id: str, no: int, attempt: int) -> bool:
    """Whether agents may claim the work of an attempt, or one has."""
    own = select(Work.no).where(Work.run_id == run_id, Work.no == no, Work.attempt == attempt)
    return session.execute(own).first() is not None


def take_back(session: Session, run_id: str, no: int, attempt: int) -> None:
    """An attempt was given up: nobody may claim its work, or goes on with it."""
    session.execute(delete(Work).where(Work.run_id == run_id, Work.no == no, Work.attempt == attempt))


def unbegun(session: Session, run_id: str, nos: Collection[int]) -> frozenset[int]:
    """Of these steps those that wait while nobody works on them: nothing was sent, no agent has claimed it.

    They are locked first, so that no agent claims one between this look and what follows from it.
    """
    these = (Step.run_id == run_id, Step.no.in_(sorted(nos)), Step.status == "waiting")
    session.execute(select(Step.no).where(*these).order_by(Step.no).with_for_update()).all()
    same = and_(Attempt.run_id == Step.run_id, Attempt.no == Step.no, Attempt.number == Step.attempt)
    claimed = exists().where(
        Work.run_id == Step.run_id,
        Work.no == Step.no,
        Work.attempt == Step.attempt,
        Work.claimed_by.is_not(None),
    )
    found = select(Step.no).join(Attempt, same).where(*these, Attempt.assigned.is_(None), ~claimed)
    return frozenset(session.scalars(found))


def let_go(session: Session, step: Unserved, lane: str, agent_id: str | None, due: float) -> bool:
    """A step's turn has come: it is kept a place at an agent, and is due (seconds since 1970) if nobody takes it up.

    False where it waits in the lane no more.
    """
    own = (Step.run_id == step.run_id, Step.no == step.no, Step.attempt == step.attempt, Step.lane == lane)
    done: CursorResult[Any] = session.execute(  # type: ignore[assignment]
        update(Step)
        .where(*own, Step.status == "waiting")
        .values(lane=None, agent_id=agent_id, due_at=datetime.fromtimestamp(due, UTC))
    )
    return bool(done.rowcount)


def give_back(session: Session, run_id: str, no: int, attempt: int) -> bool:
    """A step that was let go cannot go on, since its run is paused: its place at the agent is free again.

    It stays due, and looks for a place when its run goes on. False where it was kept none, or is at work.
    """
    own = (Attempt.run_id == run_id, Attempt.no == no, Attempt.number == attempt)
    nowhere = select(Attempt.no).where(*own, Attempt.assigned.is_(None)).exists()
    kept = (Step.run_id == run_id, Step.no == no, Step.attempt == attempt, Step.agent_id.is_not(None))
    paused = select(Run.id).where(Run.id == run_id, Run.status == "paused").exists()
    done: CursorResult[Any] = session.execute(  # type: ignore[assignment]
        update(Step).where(*kept, Step.status == "waiting", nowhere, paused).values(agent_id=None)
    )
    return bool(done.rowcount)
