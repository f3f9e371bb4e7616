"""Pools and what of them is taken; rates and what counts for them. Counted in the rows of steps and attempts."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.orm import Session

from models.base import uuid7
from models.queries.dialect import insert
from models.queries.going import GOES_ON
from models.queries.runs import now
from models.slots import Pool
from models.step import Attempt, Step

_TAKEN = """
SELECT coalesce(sum(step.slots), 0) FROM step
WHERE step.pool = :lane AND step.pool IS NOT NULL AND step.status IN ('running', 'waiting')
"""
_COMING = f"""
SELECT count(*), coalesce(sum(step.slots), 0) FROM step JOIN run ON run.id = step.run_id
WHERE step.status = 'queued' AND step.sent_at IS NOT NULL AND step.lane = :lane
  AND {GOES_ON}
"""  # noqa: S608 - put together from constants
_WIDTHS = f"""
SELECT coalesce(step.slots, 1) FROM step JOIN run ON run.id = step.run_id
WHERE step.status = 'queued' AND step.sent_at IS NULL AND step.lane = :lane
  AND {GOES_ON}
ORDER BY step.rank, step.queued_at, step.no LIMIT :limit
"""  # noqa: S608


def put(session: Session, workspace_id: str, name: str, size: int) -> Pool:
    """Make a pool, or give it another size."""
    row = insert(session, Pool).values(
        id=uuid7(), workspace_id=workspace_id, name=name, size=size, created_at=now(session)
    )
    session.execute(row.on_conflict_do_update(index_elements=["workspace_id", "name"], set_={"size": size}))
    found = find(session, workspace_id, name)
    assert found is not None
    return found


def find(session: Session, workspace_id: str, name: str) -> Pool | None:
    """A pool by name."""
    query = select(Pool).where(Pool.workspace_id == workspace_id, Pool.name == name)
    return session.scalars(query.execution_options(populate_existing=True)).first()


def page(session: Session, workspace_id: str, *, after: str | None, limit: int) -> Sequence[Pool]:
    """Pools by name, after one of them."""
    query = select(Pool).where(Pool.workspace_id == workspace_id).order_by(Pool.name).limit(limit)
    return session.scalars(query if after is None else query.where(Pool.name > after)).all()


def remove(session: Session, pool: Pool) -> None:
    """Remove a pool."""
    session.execute(delete(Pool).where(Pool.id == pool.id))


def size(session: Session, workspace_id: str, name: str) -> int | None:
    """How many slots a pool has, None when there is no such pool."""
    found = find(session, workspace_id, name)
    return None if found is None else found.size


def taken(session: Session, lane: str) -> int:
    """How many slots of a pool's lane are taken, by steps that run or wait with them."""
    return int(session.execute(text(_TAKEN), {"lane": lane}).scalar_one())


def coming(session: Session, lane: str) -> tuple[int, int]:
    """How many steps were released from a lane and not claimed yet, and the slots that they want."""
    steps, slots = session.execute(text(_COMING), {"lane": lane}).one()
    return int(steps), int(slots)


def widths(session: Session, lane: str, limit: int) -> list[int]:
    """The slots that the next held steps of a lane want, in the order they go."""
    return [int(found) for found in session.execute(text(_WIDTHS), {"lane": lane, "limit": limit}).scalars()]


def waiting(session: Session, lane: str) -> int:
    """How many steps are held in a lane."""
    query = select(func.count()).where(Step.status == "queued", Step.sent_at.is_(None), Step.lane == lane)
    return int(session.execute(query).scalar_one())


def begun_since(session: Session, lane: str, since: float) -> int:
    """How many attempts were claimed under a rate's lane after a moment."""
    moment = datetime.fromtimestamp(since, UTC)
    query = select(func.count()).where(Attempt.rate_key == lane, Attempt.claimed_at > moment)
    return int(session.execute(query).scalar_one())


def nth_last(session: Session, lane: str, number: int) -> float | None:
    """When the attempt that is `number`th from the last under a rate's lane was claimed; None: there are fewer."""
    query = select(Attempt.claimed_at).where(Attempt.rate_key == lane).order_by(Attempt.claimed_at.desc())
    found = session.execute(query.offset(number - 1).limit(1)).scalar_one_or_none()
    return None if found is None else found.timestamp()


def lane_of(session: Session, run_id: str, no: int) -> str | None:
    """The lane that a step waited in last."""
    return session.execute(select(Step.lane).where(Step.run_id == run_id, Step.no == no)).scalar_one_or_none()


def mark(
    session: Session, run_id: str, no: int, attempt: int, *, pool: str | None, slots: int, rate: str | None
) -> None:
    """A step was claimed: it holds its slots, and its attempt counts for its rate."""
    if pool is not None:
        session.execute(
            update(Step).where(Step.run_id == run_id, Step.no == no).values(pool=pool, slots=slots)
        )
    if rate is not None:
        session.execute(
            update(Attempt)
            .where(Attempt.run_id == run_id, Attempt.no == no, Attempt.number == attempt)
            .values(rate_key=rate)
        )
