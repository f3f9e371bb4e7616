"""What an operator sets for one step. The caller holds the lock of the run, or the step's attempt."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models.queries import sweeps
from models.step import Step


def of(session: Session, run_id: str, no: int) -> Any:
    """What is set for a step: {timeout?, retry?} or None."""
    return session.execute(select(Step.override).where(Step.run_id == run_id, Step.no == no)).scalar_one()


def put(session: Session, run_id: str, no: int, override: dict[str, Any]) -> None:
    """Set it for the step's next attempts."""
    session.execute(update(Step).where(Step.run_id == run_id, Step.no == no).values(override=override))


def set_timeout(session: Session, run_id: str, no: int, attempt: int, seconds: float | None) -> None:
    """Let an attempt that has just begun time out so many seconds from now."""
    at = None if seconds is None else datetime.fromtimestamp(sweeps.clock(session) + seconds, UTC)
    own = (Step.run_id == run_id, Step.no == no, Step.attempt == attempt, Step.status == "running")
    session.execute(update(Step).where(*own).values(timeout_at=at))


def set_due(session: Session, run_id: str, no: int, at: float) -> None:
    """Let a retry that waits come at `at`, seconds since 1970."""
    own = (Step.run_id == run_id, Step.no == no, Step.status == "retrying")
    session.execute(update(Step).where(*own).values(due_at=datetime.fromtimestamp(at, UTC)))
