"""Compensation as callers see it: of a run as a whole, and of each step that has one."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from models.queries import compensations
from models.queries import run_views as queries
from models.run import Run
from models.states import RunStatus
from models.step import Step
from orchestrator.core.plan import Plan
from orchestrator.services import compensation_failures
from orchestrator.services.shapes import moment

LISTED = 1_000  # of what is done, and of what is left


def of_run(session: Session, plan: Plan, run: Run) -> dict[str, Any]:
    """`{compensation, compensation_failed}`: what was undone, what could not be, and what is left, 1,000 paths each.

    `compensation` is null of a run that has not compensated.
    """
    if not plan.undoable:
        return {"compensation": None, "compensation_failed": False}
    done = queries.compensated(session, run.id, LISTED)
    failure = compensation_failures.told(compensation_failures.found(session, plan, run.id))
    begun = run.status in (RunStatus.COMPENSATING, RunStatus.COMPENSATED) or done or failure
    shown = {
        "status": _status(run, failure),
        "done": done,
        "failed": failure,
        "remaining": compensations.remaining(session, run.id, LISTED),
    }
    return {"compensation": shown if begun else None, "compensation_failed": failure is not None}


def _status(run: Run, failure: dict[str, Any] | None) -> str:
    if run.status == RunStatus.COMPENSATING:
        return "compensating"
    return "compensated" if failure is None else "failed"


def of_step(step: Step | None, tries: Sequence[Row[Any]]) -> dict[str, Any] | None:
    """A compensation's `{status, attempts, error, started_at, finished_at}`; None where it has not begun."""
    if step is None:
        return None
    failed = step.status not in ("success", "skipped") and tries
    return {
        "status": step.status,
        "attempts": len(tries),
        "error": tries[-1].error if failed else None,
        "started_at": moment(step.started_at),
        "finished_at": moment(step.finished_at),
    }


def rows(session: Session, run: Run, plan: Plan, steps: Sequence[Step]) -> Mapping[int, Step]:
    """The compensations of these steps that have begun, by their own numbers."""
    own = [no for step in steps if (no := plan.at(step.no).undone_by) is not None]
    return {row.no: row for row in queries.by_number(session, run.id, own)} if own else {}
