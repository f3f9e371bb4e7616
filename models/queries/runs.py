"""A run's own rows: created, read, moved.

Lock order of every transaction that writes: run → steps by number → budget. No transaction locks two runs.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import CursorResult, func, insert, select, update
from sqlalchemy.orm import Session

from models.event import Event
from models.queries import runs_postgresql, runs_sqlite
from models.queries.dialect import as_id
from models.run import Budget, Run, RunData, RunLabel
from models.run_moves import NewRun, RunMove
from models.states import RunStatus
from models.step import Step


def now(session: Session) -> Any:
    """The database's clock as an SQL expression."""
    return func.db_now() if _is_sqlite(session) else func.clock_timestamp()


def create(session: Session, new: NewRun) -> None:
    """Write a run with its data, labels, budget, first events and steps."""
    write = runs_sqlite.create if _is_sqlite(session) else runs_postgresql.create
    write(session, new)
    if new.labels:
        rows = [
            {"run_id": new.id, "workspace_id": new.workspace_id, "key": key, "value": value}
            for key, value in new.labels.items()
        ]
        session.execute(insert(RunLabel), rows)
    if new.budget is not None:
        session.execute(insert(Budget).values(run_id=new.id, spent_microcents=0, reserved_microcents=0, **new.budget))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What never changes of a run."""

    id: str
    workspace_id: str
    workflow: str
    version_id: str
    has_budget: bool
    priority: int
    inputs: Any
    overrides: Any
    concurrency_key: str | None = None
    parent_run_id: str | None = None
    parent_step: str | None = None
    parent_attempt: int | None = None
    detached: bool = False
    depth: int = 0
    budget_run_id: str | None = None

    @property
    def budget_id(self) -> str:
        """The run that holds the budget that this one draws on, where it has one."""
        return self.budget_run_id or self.id


def info(session: Session, run_id: str) -> RunInfo | None:
    """What never changes of a run, None when there is none."""
    row = (runs_sqlite.info if _is_sqlite(session) else runs_postgresql.info)(session, run_id)
    if row is None:
        return None
    id_, workspace_id, workflow, version_id, has_budget, priority, inputs, overrides, key, *link = row
    parent_run_id, parent_step, parent_attempt, detached, depth, budget_run_id = link
    return RunInfo(
        id=id_,
        workspace_id=workspace_id,
        workflow=workflow,
        version_id=version_id,
        has_budget=bool(has_budget),
        priority=priority,
        inputs=json.loads(inputs),
        overrides=None if overrides is None else json.loads(overrides),
        concurrency_key=key,
        parent_run_id=parent_run_id,
        parent_step=parent_step,
        parent_attempt=parent_attempt,
        detached=bool(detached),
        depth=depth,
        budget_run_id=budget_run_id,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """A run's hot row."""

    status: RunStatus
    stopping: str | None
    open_steps: int
    error: Any
    seq: int
    timeout_at: datetime | None


def lock(session: Session, run_id: str, workspace_id: str | None = None) -> RunState | None:
    """Lock a run's row and read it; None when it is not there, or not in the workspace."""
    place = as_id(run_id)
    read = runs_sqlite.lock if _is_sqlite(session) else runs_postgresql.lock
    row = None if place is None else read(session, place, workspace_id)
    if row is None:
        return None
    status, stopping, open_steps, error, seq_, timeout_at = row
    return RunState(
        status=RunStatus(status),
        stopping=stopping,
        open_steps=open_steps,
        error=None if error is None else json.loads(error),
        seq=seq_,
        timeout_at=timeout_at,
    )


def move(
    session: Session,
    run_id: str,
    to: RunStatus,
    event: str,
    data: dict[str, Any] | None = None,
    *,
    actor: str | None = None,
    error: dict[str, Any] | None = None,
    outputs: Any = None,
) -> bool:
    """Move a run, guarded by the legal source states, with its event; False on a lost race.

    `error` is kept if the run has none yet; `outputs` are written where given.
    """
    if not _move(
        session,
        RunMove(run_id=run_id, to=to, event=event, data=data or {}, actor=actor, error=error, outputs=outputs),
    ):
        return False
    if to is RunStatus.PAUSED:  # what is held waits for the resume, and is in nobody's way
        session.execute(
            update(Step)
            .where(Step.run_id == run_id, Step.status == "queued", Step.lane.is_not(None))
            .values(lane=None)
        )
    return True


def succeed(session: Session, run_id: str, event: str, outputs: Any = None) -> bool:
    """The same to success, of a run that has no error and is not being stopped; False of any other."""
    wanted = RunMove(run_id=run_id, to=RunStatus.SUCCESS, event=event, outputs=outputs, unless_failed=True)
    return _move(session, wanted)


def _move(session: Session, wanted: RunMove) -> bool:
    return (runs_sqlite.move if _is_sqlite(session) else runs_postgresql.move)(session, wanted)


def note(
    session: Session,
    run_id: str,
    event: str,
    data: dict[str, Any],
    *,
    actor: str | None = None,
    step: str | None = None,
) -> None:
    """Write an event that moves nothing; the run's row is locked by the numbering."""
    write = runs_sqlite.note if _is_sqlite(session) else runs_postgresql.note
    write(session, run_id, event, data, actor, step)


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"


def is_being_stopped(session: Session, run_id: str) -> bool:
    """Whether a run is being stopped, and sends nothing any more."""
    return session.execute(select(Run.stopping).where(Run.id == run_id)).scalar_one_or_none() is not None


def set_stopping(
    session: Session, run_id: str, status: RunStatus, error: dict[str, Any] | None = None
) -> None:
    """Nothing new starts; the run ends as `status` once the steps that are let end have ended.

    The first stop stands; its `error`, where it has one, says why, in the place of an earlier failure.
    """
    values: dict[str, Any] = {"stopping": status.value}
    if error is not None:
        values["error"] = error
    session.execute(update(Run).where(Run.id == run_id, Run.stopping.is_(None)).values(**values))


def paused_at(session: Session, run_id: str) -> datetime:
    """When a paused run was paused."""
    return session.execute(
        select(Event.at)
        .where(Event.run_id == run_id, Event.type == "run.paused")
        .order_by(Event.seq.desc())
        .limit(1)
    ).scalar_one()


def set_timeout(session: Session, run_id: str, at: datetime | None) -> None:
    """Move the time at which a run is given up."""
    session.execute(update(Run).where(Run.id == run_id).values(timeout_at=at))


def seq(session: Session, run_id: str) -> int:
    """The number of a run's last event; the caller holds its lock."""
    return int(session.execute(select(Run.seq).where(Run.id == run_id)).scalar_one())


def variables(session: Session, run_id: str) -> dict[str, Any]:
    """A run's variables as they are."""
    found = session.execute(select(RunData.variables).where(RunData.run_id == run_id)).scalar_one()
    return dict(found)


def set_variables(session: Session, run_id: str, values: Mapping[str, Any]) -> None:
    """Write variables; the caller holds the run's lock, so the last commit wins whole keys only."""
    merged = variables(session, run_id) | dict(values)
    session.execute(update(RunData).where(RunData.run_id == run_id).values(variables=merged))


def reserve(session: Session, run_id: str, microcents: int) -> bool:
    """Reserve money at a dispatch: spent + reserved + amount ≤ limit, in one conditional UPDATE."""
    done: CursorResult[Any] = session.execute(  # type: ignore[assignment]
        update(Budget)
        .where(
            Budget.run_id == run_id,
            Budget.spent_microcents + Budget.reserved_microcents + microcents <= Budget.limit_microcents,
        )
        .values(reserved_microcents=Budget.reserved_microcents + microcents)
    )
    return bool(done.rowcount)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """A budget after a settlement."""

    limit_microcents: int
    spent_microcents: int
    on_exceeded: str

    @property
    def exceeded(self) -> bool:
        return self.spent_microcents > self.limit_microcents


def settle(session: Session, run_id: str, reserved: int, cost: int) -> BudgetState | None:
    """Give a reservation back and pay what it cost; None when the run has no budget."""
    row = session.execute(
        update(Budget)
        .where(Budget.run_id == run_id)
        .values(
            spent_microcents=Budget.spent_microcents + cost,
            reserved_microcents=Budget.reserved_microcents - reserved,
        )
        .returning(Budget.limit_microcents, Budget.spent_microcents, Budget.on_exceeded)
    ).one_or_none()
    return None if row is None else BudgetState(**row._mapping)


def budget(session: Session, run_id: str) -> BudgetState | None:
    """A run's budget as it is."""
    row = session.execute(
        select(Budget.limit_microcents, Budget.spent_microcents, Budget.on_exceeded).where(
            Budget.run_id == run_id
        )
    ).one_or_none()
    return None if row is None else BudgetState(**row._mapping)


def raise_budget(session: Session, run_id: str, limit_microcents: int) -> None:
    """Set a run's limit."""
    session.execute(update(Budget).where(Budget.run_id == run_id).values(limit_microcents=limit_microcents))


def add_cost(session: Session, run_id: str, microcents: int) -> None:
    """Add what a late attempt cost."""
    session.execute(
        update(Run).where(Run.id == run_id).values(cost_microcents=Run.cost_microcents + microcents)
    )
