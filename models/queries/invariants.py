"""Reads for the checks of invariants: all rows of one run as one moment shows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from models.approval import Approval, ApprovalVote
from models.branch import Branch, Container, ContainerItems
from models.event import Event
from models.outbox import Outbox
from models.queries import calls, signals, sweeps
from models.queries.calls import Drawn
from models.run import Budget, Run, RunData, RunLabel
from models.signal import AwaitedSignal, Signal
from models.step import Attempt, Step
from models.workflow import Workflow, WorkflowVersion

_GUARDS_POSTGRESQL = """
SELECT tgname FROM pg_trigger WHERE tgrelid = 'event'::regclass AND NOT tgisinternal AND tgenabled = 'A'
"""
_GUARDS_SQLITE = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'event'"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRows:
    """A run with all that belongs to it. `now`: the database's clock, seconds since 1970; `sent`: steps that
    are sent and unclaimed, by queue, of the whole database; `drawn`: what the run and all below it have drawn on
    its budget; `brought_up`: what its cost counts for at the attempt that called it; `signals`: those that its
    steps have taken."""

    run: Run
    data: RunData
    workflow: Workflow
    version: WorkflowVersion
    labels: Sequence[RunLabel]
    steps: Sequence[Step]
    attempts: Sequence[Attempt]
    events: Sequence[Event]
    budget: Budget | None
    outbox: Sequence[Outbox]
    drawn: Drawn | None
    brought_up: int | None
    now: float
    sent: dict[str, int]
    branches: Sequence[Branch]
    containers: Sequence[Container]
    items: Sequence[ContainerItems]
    approvals: Sequence[Approval]
    votes: Sequence[ApprovalVote]
    awaited: Sequence[AwaitedSignal]
    signals: Sequence[Signal]


def freeze(session: Session) -> None:
    """Let every read of this transaction see one moment, however long the checks between two of them take.

    To be called before the first read.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


def load(session: Session, run_id: str) -> RunRows | None:
    """A run's rows, None when there is no such run."""
    found = session.execute(
        select(Run, RunData, Workflow, WorkflowVersion)
        .join(RunData, RunData.run_id == Run.id)
        .join(Workflow, Workflow.id == Run.workflow_id)
        .join(WorkflowVersion, WorkflowVersion.id == Run.version_id)
        .where(Run.id == run_id)
    ).one_or_none()
    if found is None:
        return None
    run, data, workflow, version = found
    of_attempts = select(Attempt).where(Attempt.run_id == run_id).order_by(Attempt.no, Attempt.number)
    of_approvals = select(Approval).where(Approval.run_id == run_id)
    budget = session.get(Budget, run_id)
    return RunRows(
        run=run,
        data=data,
        workflow=workflow,
        version=version,
        labels=session.scalars(select(RunLabel).where(RunLabel.run_id == run_id)).all(),
        steps=session.scalars(select(Step).where(Step.run_id == run_id).order_by(Step.no)).all(),
        attempts=session.scalars(of_attempts).all(),
        events=session.scalars(select(Event).where(Event.run_id == run_id).order_by(Event.seq)).all(),
        budget=budget,
        outbox=session.scalars(select(Outbox).where(Outbox.run_id == run_id)).all(),
        drawn=None if budget is None else calls.drawn(session, run_id),
        brought_up=calls.brought_up(session, run_id) if run.parent_run_id is not None else None,
        now=sweeps.clock(session),
        sent={backlog.queue: backlog.sent for backlog in sweeps.backlogs(session)},
        branches=session.scalars(select(Branch).where(Branch.run_id == run_id).order_by(Branch.number)).all(),
        containers=session.scalars(select(Container).where(Container.run_id == run_id)).all(),
        items=session.scalars(
            select(ContainerItems)
            .where(ContainerItems.run_id == run_id)
            .order_by(ContainerItems.no, ContainerItems.first)
        ).all(),
        approvals=session.scalars(of_approvals).all(),
        votes=session.scalars(select(ApprovalVote).join(of_approvals.subquery())).all(),
        awaited=signals.of_run(session, run_id),
        signals=signals.taken_by(session, run_id),
    )


def run_ids(session: Session, after: str | None, since: datetime | None, limit: int) -> Sequence[str]:
    """Ids of runs above `after`, in order, of those created at `since` or later."""
    query = select(Run.id).order_by(Run.id).limit(limit)
    if after is not None:
        query = query.where(Run.id > after)
    if since is not None:
        query = query.where(Run.created_at >= since)
    return session.scalars(query).all()


def guards(session: Session) -> set[str]:
    """The triggers on `event` that hold whatever role a session plays."""
    sqlite = session.get_bind().dialect.name == "sqlite"
    return set(session.scalars(text(_GUARDS_SQLITE if sqlite else _GUARDS_POSTGRESQL)))


def expected_guards(session: Session) -> set[str]:
    """The triggers that the migrations put there."""
    if session.get_bind().dialect.name == "sqlite":
        return {"event_refuse_update", "event_refuse_delete"}
    return {"event_refuse_row", "event_refuse_truncate"}
