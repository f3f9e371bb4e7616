"""Runs that leave: those that ended long ago are found by an index, their rows go a batch at a time.

The run's row goes first: then the trigger lets its events go, nobody can act on it any more, and what is left of it
is seen by nobody. A run that called others leaves before them, so that nobody finds it without them.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import (
    Integer,
    Select,
    delete,
    exists,
    insert,
    inspect,
    literal,
    literal_column,
    select,
    tuple_,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from models.agent import SessionAgent, Work
from models.base import Base
from models.branch import Branch, Container, ContainerItems, PastItems, PastResult
from models.compensation import Compensation
from models.event import Event
from models.outbox import Outbox
from models.queries.run_views import first_id
from models.queries.runs import now
from models.retention import DepartedRun
from models.run import Run
from models.signal import Signal
from models.step import Attempt, Step
from models.workspace import Workspace

# What has no foreign key to the run, and so stays when the run's row goes.
LEFT: Mapping[type[Base], InstrumentedAttribute[str] | InstrumentedAttribute[str | None]] = {
    Attempt: Attempt.run_id,
    Step: Step.run_id,
    Event: Event.run_id,
    Branch: Branch.run_id,
    Container: Container.run_id,
    ContainerItems: ContainerItems.run_id,
    PastItems: PastItems.run_id,
    PastResult: PastResult.run_id,
    Compensation: Compensation.run_id,
    Outbox: Outbox.run_id,
    SessionAgent: SessionAgent.run_id,
    Work: Work.run_id,
    Signal: Signal.taken_run_id,
}
_ROWID = literal_column("event.rowid", Integer)
Place = tuple[datetime, str]


def kept_for(session: Session, default: float | None) -> list[tuple[str, float]]:
    """The workspaces whose runs leave, with the days that they are kept: their own, else `default`."""
    rows = session.execute(select(Workspace.id, Workspace.run_retention_days).order_by(Workspace.id))
    days = ((workspace, default if own is None else own) for workspace, own in rows)
    return [(workspace, kept) for workspace, kept in days if kept is not None]


def ended(session: Session, workspace_id: str, before: float, after: Place | None, limit: int) -> Sequence[Place]:
    """Runs that no other has called and that ended before a moment (seconds since 1970), in the order they ended."""
    query = (
        select(Run.finished_at, Run.id)
        .where(Run.workspace_id == workspace_id, Run.parent_run_id.is_(None), Run.finished_at < _moment(before))
        .order_by(Run.finished_at, Run.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(Run.finished_at, Run.id) > tuple_(*after))
    return [(at, run_id) for at, run_id in session.execute(query) if at is not None]


def leave(session: Session, roots: Collection[str], before: float, limit: int) -> int:
    """Remove the rows of runs that ended before a moment, and of what they have called, about `limit`; how many.

    Those that somebody else has hold of stay, and those that are held.
    """
    mine = select(Run.id).where(Run.id.in_(sorted(roots)), Run.finished_at < _moment(before))
    ours = set(session.scalars(mine.with_for_update(skip_locked=True)))
    gone: Sequence[str] = sorted(ours - _held(session, ours, before)) if ours else ()
    count = len(gone)
    _remove(session, gone)
    while gone and count < limit:
        gone = follow(session, gone, limit - count)
        count += len(gone)
    return count


def _held(session: Session, roots: Collection[str], before: float) -> set[str]:
    """Those of the runs that stay for one that they, or runs below, have called: it goes on, or ended since.

    On SQLite also the one that has the newest event, itself or below: an event after it could get its rowid again,
    and whoever has read up to there would miss it. All of them are locked: none is opened again meanwhile.
    """
    top = select(Run.id.label("root"), Run.id.label("id")).where(Run.id.in_(sorted(roots)))
    tree = top.cte("tree", recursive=True)
    tree = tree.union_all(select(tree.c.root, Run.id).join(tree, Run.parent_run_id == tree.c.id))
    members = select(tree.c.root, Run.id, Run.finished_at).join(Run, Run.id == tree.c.id)
    newest = session.scalar(_newest()) if session.get_bind().dialect.name == "sqlite" else None
    rows = session.execute(members.order_by(Run.id).with_for_update(of=Run))
    return {root for root, run_id, at in rows if at is None or at >= _moment(before) or run_id == newest}


def follow(session: Session, callers: Collection[str], limit: int) -> Sequence[str]:
    """Remove the rows of ended runs whose callers have left."""
    query = select(Run.id).where(Run.parent_run_id.in_(sorted(callers)), Run.finished_at.is_not(None)).limit(limit)
    if session.get_bind().dialect.name == "sqlite":
        query = query.where(Run.id != _newest().scalar_subquery())
    gone = session.scalars(query.with_for_update(skip_locked=True)).all()
    _remove(session, gone)
    return gone


def _newest() -> Select[str]:
    """The run that has the newest event, on SQLite."""
    return select(Event.run_id).order_by(_ROWID.desc()).limit(1)


def _remove(session: Session, run_ids: Sequence[str]) -> None:
    if run_ids:
        session.execute(insert(DepartedRun).values(swept_at=now(session)), [{"run_id": each} for each in run_ids])
        session.execute(delete(Run).where(Run.id.in_(run_ids)))


def any_departed(session: Session) -> bool:
    """Whether rows are left of a run that has left."""
    return session.execute(select(DepartedRun.run_id).limit(1)).first() is not None


def take(session: Session, limit: int) -> Sequence[str]:
    """Runs that have left, for this transaction alone."""
    query = select(DepartedRun.run_id).order_by(DepartedRun.swept_at).limit(limit)
    return session.scalars(query.with_for_update(skip_locked=True)).all()


def clear(session: Session, run_ids: Collection[str], limit: int) -> int:
    """Remove up to `limit` rows of runs that have left; how many."""
    left, ids = limit, sorted(run_ids)
    for table, column in LEFT.items():
        key = inspect(table).primary_key
        some = select(*key).where(column.in_(ids)).limit(left)
        gone = session.execute(delete(table).where(tuple_(*key).in_(some)).returning(literal(1)))
        left -= len(gone.all())
        if left <= 0:
            break
    return limit - left


def forget(session: Session, run_ids: Collection[str]) -> None:
    """Nothing is left of these but, of some, runs that they have called: those are looked for again."""
    ids = sorted(run_ids)
    calls = exists().where(Run.parent_run_id == DepartedRun.run_id)
    session.execute(delete(DepartedRun).where(DepartedRun.run_id.in_(ids), ~calls))
    session.execute(update(DepartedRun).where(DepartedRun.run_id.in_(ids)).values(swept_at=now(session)))


def any_signal(session: Session, workspace_id: str, before: float) -> bool:
    """Whether there is a signal to a key that was sent before a moment and that nobody has taken."""
    return session.execute(_unclaimed(workspace_id, before, 1)).first() is not None


def forget_signals(session: Session, workspace_id: str, before: float, limit: int) -> int:
    """Remove at most `limit` of them; how many went."""
    some = delete(Signal).where(Signal.id.in_(_unclaimed(workspace_id, before, limit)))
    return len(session.execute(some.returning(Signal.id)).all())


def _unclaimed(workspace_id: str, before: float, limit: int) -> Select[str]:
    mine = Signal.workspace_id == workspace_id, Signal.key.is_not(None), Signal.taken_run_id.is_(None)
    return select(Signal.id).where(*mine, Signal.id < first_id(_moment(before))).order_by(Signal.id).limit(limit)


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
