"""What time will bring: when each open step and run is due, for a clock that is moved by hand."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, or_, select
from sqlalchemy.orm import Session

from models.run import Run
from models.states import RUN_TERMINAL, StepStatus
from models.step import Step

StepRow = Row[str, int, str, int, str, datetime | None, datetime | None, str, str | None, str]
RunRow = Row[str, str, str | None, datetime | None]


def steps(session: Session) -> Sequence[StepRow]:
    """Steps of open runs that work or wait, or that something is due for, by run and number.

    (run_id, no, path, attempt, status, due_at, timeout_at, the run's status, its stopping, its version's id)
    """
    return session.execute(
        select(
            Step.run_id,
            Step.no,
            Step.path,
            Step.attempt,
            Step.status,
            Step.due_at,
            Step.timeout_at,
            Run.status.label("run_status"),
            Run.stopping,
            Run.version_id,
        )
        .join(Run, Run.id == Step.run_id)
        .where(
            Run.status.not_in(RUN_TERMINAL),
            or_(
                Step.status.in_((StepStatus.WAITING, StepStatus.RUNNING)),
                Step.due_at.is_not(None),
                Step.timeout_at.is_not(None),
            ),
        )
        .order_by(Step.run_id, Step.no)
    ).all()


def runs(session: Session) -> Sequence[RunRow]:
    """Open runs: (id, status, stopping, timeout_at)."""
    return session.execute(
        select(Run.id, Run.status, Run.stopping, Run.timeout_at)
        .where(Run.status.not_in(RUN_TERMINAL))
        .order_by(Run.id)
    ).all()
