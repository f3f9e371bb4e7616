"""Degraded successes: an attempt that succeeded and keeps the error that it succeeded in spite of."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.event import Event
from models.run import Run
from models.step import Attempt, Step

RUNS, FIRST, MOST = 2_000, 20, 500


def runs(session: Session, run_ids: Collection[str]) -> set[str]:
    """Those of these runs that hold a step which stands as degraded."""
    query = (
        select(Attempt.run_id)
        .join(Step, (Step.run_id == Attempt.run_id) & (Step.no == Attempt.no))
        .where(
            Attempt.run_id.in_(sorted(run_ids)),
            Attempt.output.is_not(None),
            Attempt.error.is_not(None),
            Attempt.number == Step.attempt,
            Step.status == "success",
        )
        .distinct()
    )
    return set(session.scalars(query))


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """A step that succeeded in another run of the same workflow; `error` where it was degraded itself."""

    run_id: str
    version_id: str
    no: int
    finished_at: datetime
    error: Any


def successes(session: Session, run_id: str, path: str) -> Iterator[list[Earlier]]:
    """The steps of a path that succeeded in other runs of the workflow of a run, of the newest runs first.

    Each answer is of more runs than the one before, at most of the newest 2,000 together; the caller stops where it
    has found what it wants. Runs are found by their workflow's index, their steps by that of paths, which cost a step
    that does not fail nothing.
    """
    workflow_id = session.execute(select(Run.workflow_id).where(Run.id == run_id)).scalar_one()
    mine = select(Run.id, Run.version_id).where(Run.workflow_id == workflow_id).order_by(Run.id.desc())
    looked, size, before = 0, FIRST, None
    while looked < RUNS:
        older = mine if before is None else mine.where(Run.id < before)
        rows = session.execute(older.limit(size)).all()
        if not rows:
            return
        yield _of(session, {row.id: row.version_id for row in rows if row.id != run_id}, path)
        looked, size, before = looked + size, min(5 * size, MOST), rows[-1].id


def _of(session: Session, versions: Mapping[str, str], path: str) -> list[Earlier]:
    attempt = (Attempt.run_id == Step.run_id) & (Attempt.no == Step.no) & (Attempt.number == Step.attempt)
    query = (
        select(Step.run_id, Step.no, Step.finished_at, Attempt.error)
        .join(Attempt, attempt)
        .where(Step.run_id.in_(versions), Step.path == path, Step.path.is_not(None), Step.status == "success")
    )
    rows = session.execute(query).all()
    copied = _copied(session, [row.run_id for row in rows], path)
    return [
        Earlier(
            run_id=row.run_id,
            version_id=versions[row.run_id],
            no=row.no,
            finished_at=row.finished_at,
            error=row.error,
        )
        for row in rows
        if row.run_id not in copied
    ]


def _copied(session: Session, run_ids: Collection[str], path: str) -> set[str]:
    """Those of these runs whose step has the outcome of an earlier attempt, which it did not give when it ended."""
    told = select(Event.run_id, Event.data).where(
        Event.run_id.in_(sorted(run_ids)), Event.step == path, Event.type == "step.completed"
    )
    last = {str(row.run_id): row.data for row in session.execute(told.order_by(Event.run_id, Event.seq))}
    return {run_id for run_id, data in last.items() if "copied" in data}
