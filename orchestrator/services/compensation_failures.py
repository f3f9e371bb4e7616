"""Why a run could not be undone."""

from typing import Any

from sqlalchemy.orm import Session

from models.queries import compensations, resets, steps
from orchestrator.core.plan import Plan


def found(session: Session, plan: Plan, run_id: str) -> dict[str, Any] | None:
    """{code, message, details, step} of the step whose compensation has failed for good; None where none has."""
    stuck = compensations.failed(session, run_id)
    own = None if stuck is None else plan.at(stuck.no).undone_by
    if stuck is None or own is None:
        return None
    rows = {row.no: row for row in steps.hot(session, run_id, [stuck.no, own])}
    error = resets.attempt_error(session, run_id, own, rows[own].attempt) or {}
    return {key: error.get(key) for key in ("code", "message", "details")} | {"step": rows[stuck.no].path}


def told(failure: dict[str, Any] | None) -> dict[str, Any] | None:
    """A failure as events and answers show it: {step, code, message}."""
    return None if failure is None else {key: failure[key] for key in ("step", "code", "message")}
