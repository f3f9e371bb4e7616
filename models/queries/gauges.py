"""Counts for metrics, each from an index that holds only what is open."""

from collections.abc import Sequence

from sqlalchemy import Row, func, select, text
from sqlalchemy.orm import Session

from models.run import Run
from models.states import RUN_TERMINAL, RunStatus, StepStatus
from models.step import Step
from models.workspace import Workspace


def open_runs(session: Session) -> Sequence[Row[str, int]]:
    """Runs that have not ended, by status; through the index by workspace and status."""
    open_ = [status.value for status in RunStatus if status not in RUN_TERMINAL]
    return session.execute(
        select(Run.status, func.count())
        .where(Run.workspace_id.in_(select(Workspace.id)), Run.status.in_(open_))
        .group_by(Run.status)
    ).all()


def queued_steps(session: Session) -> Sequence[Row[str, int]]:
    """Steps that wait for a worker, by queue; through the partial index of queued steps."""
    query = select(Step.queue, func.count()).where(Step.status == StepStatus.QUEUED.value)
    return session.execute(query.group_by(Step.queue)).all()


def answers(session: Session) -> None:
    """Raises SQLAlchemyError when the database does not answer."""
    session.execute(text("SELECT 1"))
