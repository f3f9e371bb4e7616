"""Work that agents pull: offered, claimed under a lease, lost, taken back.

A row is worth what its step is: of a step that does not wait with this attempt it is not given, and swept away.
Whoever claims locks the work and its step together and waits for neither, so that it is in nobody's way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import CursorResult, Select, and_, case, delete, exists, or_, select, text, update
from sqlalchemy.orm import Session

from models.agent import Work
from models.base import dump_json
from models.queries.dialect import insert
from models.queries.going import GOES_ON
from models.queries.runs import now
from models.run import Run
from models.step import Attempt, Step

MOST_LOSSES = 3
_LOST = text(
    f"work.losses >= {MOST_LOSSES}"
)  # word for word what the index says: a parameter would not find it


def offer(
    session: Session,
    *,
    run_id: str,
    no: int,
    attempt: int,
    workspace_id: str,
    agent_id: str | None,
    role: str | None,
    capabilities: Sequence[str],
    rank: int,
) -> None:
    """Offer a parked attempt to an agent, or to any of the role with all the capabilities; unclaimed again.

    Its losses stay with an attempt that is offered anew.
    """
    values: dict[str, Any] = {
        "attempt": attempt,
        "workspace_id": workspace_id,
        "agent_id": agent_id,
        "role": role,
        "capabilities": list(capabilities),
        "rank": rank,
        "offered_at": now(session),
        "claimed_by": None,
        "lease_digest": None,
        "lease_until": None,
    }
    row = insert(session, Work).values(run_id=run_id, no=no, losses=0, **values)
    losses = case((Work.attempt == attempt, Work.losses), else_=0)
    anew = row.on_conflict_do_update(index_elements=["run_id", "no"], set_={**values, "losses": losses})
    session.execute(anew)


def withdraw(session: Session, run_id: str, no: int) -> None:
    """Take an offer back, also from the agent that works on it."""
    session.execute(delete(Work).where(Work.run_id == run_id, Work.no == no))


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """An attempt that is offered. `losses`: leases that ran out."""

    run_id: str
    no: int
    attempt: int
    workspace_id: str
    losses: int = 0
    lease_until: datetime | None = None


_FITS = """
SELECT work.run_id, work.no, work.attempt FROM work
JOIN step ON step.run_id = work.run_id AND step.no = work.no
JOIN run ON run.id = work.run_id
WHERE work.workspace_id = :workspace AND work.claimed_by IS NULL AND work.losses < :most
  AND (work.agent_id = :agent OR (work.agent_id IS NULL AND (work.role IS NULL OR work.role = :role)))
  AND NOT EXISTS (
    SELECT 1 FROM {elements}({theirs}) AS wanted{alias}
    WHERE wanted.value NOT IN (SELECT own.value FROM {elements}({own}) AS own{alias})
  )
  AND step.status = 'waiting' AND step.attempt = work.attempt
  AND {goes_on}
ORDER BY work.rank, work.offered_at, work.run_id, work.no LIMIT 1 {lock}
"""
_SQLITE = {"elements": "json_each", "theirs": "work.capabilities", "alias": "", "own": ":capabilities"}
_POSTGRESQL = {
    "elements": "json_array_elements_text",
    "theirs": "CAST(work.capabilities AS json)",
    "alias": "(value)",
    "own": "CAST(:capabilities AS json)",
}
_LOCK = "FOR UPDATE OF work, step SKIP LOCKED"


def fitting(
    session: Session,
    *,
    workspace_id: str,
    agent_id: str,
    role: str | None,
    capabilities: Sequence[str],
    lock: bool,
) -> Piece | None:
    """The next work for an agent; with `lock` the work and its step are this transaction's alone."""
    sqlite = session.get_bind().dialect.name == "sqlite"
    words = {**(_SQLITE if sqlite else _POSTGRESQL), "lock": _LOCK if lock and not sqlite else ""}
    given = {
        "workspace": workspace_id,
        "agent": agent_id,
        "role": role,
        "capabilities": dump_json(list(capabilities)),
        "most": MOST_LOSSES,
    }
    row = session.execute(text(_FITS.format(goes_on=GOES_ON, **words)), given).first()
    if row is None:
        return None
    return Piece(run_id=str(row.run_id), no=row.no, attempt=row.attempt, workspace_id=workspace_id)


def claim(
    session: Session, piece: Piece, *, agent_id: str, agent: str, digest: str, until: datetime
) -> Piece:
    """Give an agent work that `fitting` has locked; the work, with its lease."""
    session.execute(
        update(Work)
        .where(Work.run_id == piece.run_id, Work.no == piece.no)
        .values(claimed_by=agent_id, lease_digest=digest, lease_until=until)
    )
    session.execute(
        update(Step)
        .where(Step.run_id == piece.run_id, Step.no == piece.no)
        .values(agent_id=agent_id, waiting_for=f"agent {agent}, which has claimed it")
    )
    own = Attempt.run_id == piece.run_id, Attempt.no == piece.no, Attempt.number == piece.attempt
    begun = {"agent_id": agent_id, "agent": agent, "begun_at": now(session)}
    session.execute(update(Attempt).where(*own).values(**begun))
    return replace(piece, lease_until=until)


def held(session: Session, agent_id: str, digest: str) -> Piece | None:
    """The work that an agent has under a lease that lasts, while its step waits for it."""
    query = (
        select(Work)
        .join(Step, and_(Step.run_id == Work.run_id, Step.no == Work.no, Step.attempt == Work.attempt))
        .where(
            Work.claimed_by == agent_id,
            Work.lease_digest == digest,
            Work.lease_until > now(session),
            Step.status == "waiting",
        )
    )
    row = session.scalars(query).first()
    return None if row is None else _piece(row)


def renew(session: Session, agent_id: str, digest: str, until: datetime) -> bool:
    """Prolong a lease that lasts; False where it ran out."""
    done: CursorResult[Any] = session.execute(  # type: ignore[assignment]
        update(Work)
        .where(Work.claimed_by == agent_id, Work.lease_digest == digest, Work.lease_until > now(session))
        .values(lease_until=until)
    )
    return bool(done.rowcount)


def end(session: Session, piece: Piece) -> None:
    """The attempt has its outcome: nobody is to work on it any more."""
    own = Work.run_id == piece.run_id, Work.no == piece.no, Work.attempt == piece.attempt
    session.execute(delete(Work).where(*own))


def any_over(session: Session) -> bool:
    """Whether a lease ran out, or an offer was lost too often: a probe of an index for each."""
    moment = select(
        now(session)
    ).scalar_subquery()  # asked once: a clock that is asked for each row takes no index
    ran_out = select(Work.no).where(Work.lease_until <= moment)
    return any(
        session.execute(query.limit(1)).first() is not None
        for query in (ran_out, select(Work.no).where(_LOST))
    )


def any_left(session: Session) -> bool:
    """Whether the step of an offer does not wait any more. It looks at every offer: ask seldom."""
    return session.execute(select(Work.no).where(~_waits()).limit(1)).first() is not None


def lapse(session: Session, limit: int) -> list[Piece]:
    """Take work back whose lease ran out: it is offered again, and one lease the poorer."""
    ran_out = _with_steps().where(Work.lease_until <= now(session)).limit(limit)
    taken = session.execute(ran_out.with_for_update(skip_locked=True, of=(Work, Step))).all()
    return [_take_back(session, run_id, no, losses=1) for run_id, no in taken]


def lost(session: Session, limit: int) -> list[Piece]:
    """Work whose leases ran out too often to be given once more."""
    query = select(Work).where(Work.claimed_by.is_(None), _LOST).limit(limit)
    return [_piece(row) for row in session.scalars(query)]


def sweep(session: Session, limit: int) -> int:
    """Forget offers whose steps do not wait any more; how many went."""
    left = select(Work.run_id, Work.no).where(~_waits()).limit(limit)
    found = session.execute(left.with_for_update(skip_locked=True, of=Work)).all()
    for run_id, no in found:
        session.execute(delete(Work).where(Work.run_id == run_id, Work.no == no, ~_waits()))
    return len(found)


def lock(session: Session, agent_id: str) -> None:
    """Lock what an agent has or is offered alone. Whoever touches work and its step takes the work first."""
    theirs = or_(Work.agent_id == agent_id, Work.claimed_by == agent_id)
    rows = select(Work.run_id, Work.no).where(theirs).order_by(Work.run_id, Work.no)
    session.execute(rows.with_for_update()).all()


def give_up(session: Session, agent_id: str) -> None:
    """Take back what an agent works on for its role: it is offered again."""
    theirs = Work.claimed_by == agent_id, Work.agent_id.is_distinct_from(agent_id)
    for run_id, no in session.execute(select(Work.run_id, Work.no).where(*theirs)).all():
        _take_back(session, run_id, no, losses=0)


def recall(session: Session, agent_id: str, *, claimed: bool) -> list[Piece]:
    """Withdraw what is offered to one agent alone, with `claimed` also what it works on."""
    own = delete(Work).where(Work.agent_id == agent_id)
    if not claimed:
        own = own.where(Work.claimed_by.is_(None))
    return [_piece(row) for row in session.scalars(own.returning(Work))]


def wake(session: Session, piece: Piece, at: datetime) -> None:
    """The step of an offer that is gone is due for a look, and at no agent."""
    session.execute(update(Step).where(*_waiting_step(piece)).values(due_at=at, agent_id=None))


def _with_steps() -> Select[str, int]:
    same = and_(Step.run_id == Work.run_id, Step.no == Work.no, Step.attempt == Work.attempt)
    return select(Work.run_id, Work.no).join(Step, same)


def _take_back(session: Session, run_id: str, no: int, *, losses: int) -> Piece:
    """Nobody works on it any more. In a run that is being stopped nobody may claim it again: it is lost."""
    stopping = exists().where(Run.id == Work.run_id, Run.stopping.is_not(None))
    lost = case((stopping, MOST_LOSSES), else_=Work.losses + losses)
    row = session.scalars(
        update(Work)
        .where(Work.run_id == run_id, Work.no == no)
        .values(claimed_by=None, lease_digest=None, lease_until=None, losses=lost)
        .returning(Work)
        .execution_options(synchronize_session=False, populate_existing=True)
    ).one()
    piece = _piece(row)
    again = {"agent_id": None, "waiting_for": "an agent to claim it again"}
    session.execute(update(Step).where(*_waiting_step(piece)).values(**again))
    return piece


def _waiting_step(piece: Piece) -> tuple[Any, ...]:
    own = Step.run_id == piece.run_id, Step.no == piece.no, Step.attempt == piece.attempt
    return *own, Step.status == "waiting"


def _waits() -> Any:
    """The step of an offer waits, or is about to: it runs still, and its outcome is being written."""
    same = Step.run_id == Work.run_id, Step.no == Work.no, Step.attempt == Work.attempt
    return exists().where(*same, Step.status.in_(("running", "waiting")))


def _piece(row: Work) -> Piece:
    return Piece(
        run_id=row.run_id,
        no=row.no,
        attempt=row.attempt,
        workspace_id=row.workspace_id,
        losses=row.losses,
        lease_until=row.lease_until,
    )
