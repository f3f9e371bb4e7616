"""Runs that steps of other runs have called, and what goes between the two. Nothing here locks two runs."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from models.event import Event
from models.run import Run, RunData
from models.states import RUN_TERMINAL, RunStatus
from models.step import Attempt, Step

_OPEN = tuple(status.value for status in RunStatus if status not in RUN_TERMINAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What a called run takes from the run that calls it."""

    id: str
    workspace_id: str
    version_id: str
    status: str
    stopping: str | None
    priority: int
    depth: int
    has_budget: bool
    budget_id: str
    created_by: str | None


def caller(session: Session, run_id: str) -> Caller:
    """A run that calls, as this transaction sees it; it is not locked."""
    row = session.execute(
        select(
            Run.id,
            Run.workspace_id,
            Run.version_id,
            Run.status,
            Run.stopping,
            Run.priority,
            Run.depth,
            Run.has_budget,
            Run.budget_run_id,
            RunData.created_by,
        )
        .join(RunData, RunData.run_id == Run.id)
        .where(Run.id == run_id)
    ).one()
    found = dict(row._mapping)
    return Caller(budget_id=found.pop("budget_run_id") or row.id, **found)


def status(session: Session, run_id: str) -> str:
    """A run's status; it is not locked."""
    return str(session.execute(select(Run.status).where(Run.id == run_id)).scalar_one())


def standing(session: Session, run_id: str) -> tuple[str, str]:
    """A run's status and version; it is not locked."""
    row = session.execute(select(Run.status, Run.version_id).where(Run.id == run_id)).one()
    return str(row.status), str(row.version_id)


def called(session: Session, run_id: str, path: str, attempt: int) -> str | None:
    """The run that an attempt of a step has called."""
    return session.execute(
        select(Run.id).where(
            Run.parent_run_id == run_id, Run.parent_step == path, Run.parent_attempt == attempt
        )
    ).scalar_one_or_none()


def attached(session: Session, run_id: str, after: str, limit: int) -> Sequence[str]:
    """Ids, above `after`, of the called runs of a run that go on and that it waits for."""
    rows = session.execute(
        select(Run.id)
        .where(Run.parent_run_id == run_id, Run.id > after, Run.detached.is_(False), Run.status.in_(_OPEN))
        .order_by(Run.id)
        .limit(limit)
    )
    return [run_id for (run_id,) in rows]


def path(session: Session, run_id: str, no: int) -> str:
    """A step's path."""
    return str(session.execute(select(Step.path).where(Step.run_id == run_id, Step.no == no)).scalar_one())


def number(session: Session, run_id: str, path: str) -> int:
    """A step's number."""
    found = number_of(session, run_id, path)
    assert found is not None, f"run {run_id} has no step {path}"
    return found


def number_of(session: Session, run_id: str, path: str) -> int | None:
    """A step's number; None when the run has no such step."""
    found = select(Step.no).where(Step.run_id == run_id, Step.path == path)
    return session.execute(found).scalar_one_or_none()


def cost(session: Session, run_id: str) -> int:
    """What a run has cost so far, in micro-cents."""
    return int(session.execute(select(Run.cost_microcents).where(Run.id == run_id)).scalar_one())


def by_steps(session: Session, run_id: str, paths: Collection[str]) -> dict[tuple[str, int], str]:
    """The runs that these steps have called, by path and attempt."""
    rows = session.execute(
        select(Run.parent_step, Run.parent_attempt, Run.id).where(
            Run.parent_run_id == run_id, Run.parent_step.in_(sorted(paths))
        )
    )
    return {(str(path), int(attempt or 0)): called for path, attempt, called in rows}


def pause_data(session: Session, run_id: str) -> dict[str, Any]:
    """The data of a run's last `run.paused`."""
    return dict(
        session.execute(
            select(Event.data)
            .where(Event.run_id == run_id, Event.type == "run.paused")
            .order_by(Event.seq.desc())
            .limit(1)
        ).scalar_one()
    )


def brought_up(session: Session, run_id: str) -> int | None:
    """What a run's cost counts for at the attempt that called it, in micro-cents; None where none did."""
    return session.execute(
        select(Attempt.cost_microcents)
        .join(Step, (Step.run_id == Attempt.run_id) & (Step.no == Attempt.no))
        .join(Run, (Run.parent_run_id == Step.run_id) & (Run.parent_step == Step.path))
        .where(Run.id == run_id, Run.detached.is_(False), Attempt.number == Run.parent_attempt)
    ).scalar_one_or_none()


# All runs below one that draw on its budget. An attempt that called a run cost what that run cost: it counts
# where it was spent.
_TREE = """
WITH RECURSIVE tree(id) AS (
  SELECT id FROM run WHERE id = :run
  UNION ALL
  SELECT run.id FROM run JOIN tree ON run.parent_run_id = tree.id WHERE run.budget_run_id = :run
), spent AS (
  SELECT coalesce(sum(attempt.cost_microcents), 0) AS cost,
    coalesce(sum(CASE WHEN attempt.status IN ('running', 'waiting') THEN attempt.reserved_microcents END), 0)
      AS reserved
  FROM tree JOIN attempt ON attempt.run_id = tree.id
), passed AS (
  SELECT coalesce(sum(attempt.cost_microcents), 0) AS cost
  FROM tree JOIN run ON run.parent_run_id = tree.id
  JOIN step ON step.run_id = run.parent_run_id AND step.path = run.parent_step
  JOIN attempt ON attempt.run_id = step.run_id AND attempt.no = step.no AND attempt.number = run.parent_attempt
)
SELECT spent.cost - passed.cost AS cost, spent.reserved,
  (SELECT count(*) FROM tree JOIN run ON run.id = tree.id
   WHERE run.status NOT IN ('success', 'failed', 'aborted', 'compensated')) AS open
FROM spent, passed
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What a run and all that draw on its budget have cost and reserve, in micro-cents; how many go on."""

    cost: int
    reserved: int
    open: int


def drawn(session: Session, run_id: str) -> Drawn:
    """What was drawn on a run's budget, by attempts."""
    row = session.execute(text(_TREE), {"run": run_id}).one()
    return Drawn(cost=int(row.cost), reserved=int(row.reserved), open=int(row.open))
