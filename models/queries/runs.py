"""A run's own rows: created, read, moved.

Lock order of every transaction that writes: run → steps by number → budget. No transaction locks two runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import CursorResult, func, insert, literal, null, select, update
from sqlalchemy.orm import Session

from models.base import Json
from models.event import Event
from models.queries.dialect import as_id
from models.run import Budget, Run, RunData, RunLabel
from models.states import RUN_TERMINAL, RunStatus, run_sources
from models.step import Step
from models.workflow import Workflow


def now(session: Session) -> Any:
    """The database's clock as an SQL expression."""
    return func.db_now() if session.get_bind().dialect.name == "sqlite" else func.clock_timestamp()


def insert_run(
    session: Session,
    run: dict[str, Any],
    data: dict[str, Any],
    labels: dict[str, str],
    budget: dict[str, Any] | None,
) -> None:
    """Insert a run, pending, with its data, labels and budget."""
    at = now(session)
    session.execute(insert(Run).values(**run, created_at=at))
    session.execute(insert(RunData).values(run_id=run["id"], labels=labels, **data))
    if labels:
        rows = [
            {"run_id": run["id"], "workspace_id": run["workspace_id"], "key": key, "value": value}
            for key, value in labels.items()
        ]
        session.execute(insert(RunLabel), rows)
    if budget is not None:
        session.execute(
            insert(Budget).values(run_id=run["id"], spent_microcents=0, reserved_microcents=0, **budget)
        )


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
    row = session.execute(
        select(
            Run.id,
            Run.workspace_id,
            Workflow.name.label("workflow"),
            Run.version_id,
            Run.has_budget,
            Run.priority,
            RunData.inputs,
            RunData.overrides,
            Run.concurrency_key,
            Run.parent_run_id,
            Run.parent_step,
            Run.parent_attempt,
            Run.detached,
            Run.depth,
            Run.budget_run_id,
        )
        .join(Workflow, Workflow.id == Run.workflow_id)
        .join(RunData, RunData.run_id == Run.id)
        .where(Run.id == run_id)
    ).one_or_none()
    return None if row is None else RunInfo(**row._mapping)


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
    query = select(Run.status, Run.stopping, Run.open_steps, Run.error, Run.seq, Run.timeout_at).where(
        Run.id == as_id(run_id)
    )
    if workspace_id is not None:
        query = query.where(Run.workspace_id == workspace_id)
    row = session.execute(query.with_for_update()).one_or_none()
    if row is None:
        return None
    return RunState(
        status=RunStatus(row.status),
        stopping=row.stopping,
        open_steps=row.open_steps,
        error=row.error,
        seq=row.seq,
        timeout_at=row.timeout_at,
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
    at = now(session)
    values: dict[str, Any] = {"status": to.value, "seq": Run.seq + 1}
    if to is RunStatus.RUNNING:
        values["started_at"] = func.coalesce(Run.started_at, at)
        values["finished_at"] = None
    if to is RunStatus.COMPENSATING:
        values["stopping"] = null()  # nothing of it is being stopped any more
        values["finished_at"] = None
    if to in RUN_TERMINAL:
        values["finished_at"] = at
    if error is not None:
        values["error"] = func.coalesce(Run.error, literal(error, Json))
    sources = [source.value for source in run_sources(to)]
    row = session.execute(
        update(Run).where(Run.id == run_id, Run.status.in_(sources)).values(**values).returning(Run.seq)
    ).one_or_none()
    if row is None:
        return False
    append(session, run_id, row.seq, event, data or {}, actor=actor)
    if to is RunStatus.PAUSED:  # what is held waits for the resume, and is in nobody's way
        session.execute(
            update(Step)
            .where(Step.run_id == run_id, Step.status == "queued", Step.lane.is_not(None))
            .values(lane=None)
        )
    if outputs is not None:
        session.execute(update(RunData).where(RunData.run_id == run_id).values(outputs=outputs))
    return True


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
    seq = session.execute(
        update(Run).where(Run.id == run_id).values(seq=Run.seq + 1).returning(Run.seq)
    ).scalar_one()
    append(session, run_id, seq, event, data, actor=actor, step=step)


def append(
    session: Session,
    run_id: str,
    seq: int,
    event: str,
    data: dict[str, Any],
    *,
    actor: str | None = None,
    step: str | None = None,
) -> None:
    """Append one event under a number that the caller took from the run's row."""
    session.execute(
        insert(Event).values(
            run_id=run_id, seq=seq, type=event, step=step, at=now(session), actor=actor, data=data
        )
    )


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
