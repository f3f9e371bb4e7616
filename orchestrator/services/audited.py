"""What the audit log says of acts on runs and on their steps: the status before and after, and why."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from models.queries import run_views, steps
from orchestrator.services import auditing
from orchestrator.services.actors import Actor
from orchestrator.services.reaching import Reached


def run(
    session: Session,
    actor: Actor,
    act: str,
    run_id: str,
    was: str | None,
    reason: str = "",
    told: Mapping[str, Any] | None = None,
) -> None:
    """Record `run.<act>`, after all that it does at once was written. was: the status before, None of a new run.

    told: what else is to be known; what users sent as a mapping or list.
    """
    before, after = None, dict(told or {})
    if was is not None:  # a new run's would cost each trigger a round trip more
        head = run_views.head(session, actor.workspace_id, run_id)
        before = {"status": str(was)}
        after["status"] = None if head is None else head.status
    target = f"run:{run_id}"
    auditing.record(session, actor, f"run.{act}", target, before=before, after=after, reason=reason)


def step(reached: Reached, actor: Actor, act: str, told: Mapping[str, Any] | None = None) -> None:
    """Record `step.<act>` in the same way."""
    session, run_id = reached.advance.session, reached.advance.info.id
    (row,) = steps.hot(session, run_id, [reached.row.no])
    auditing.record(
        session,
        actor,
        f"step.{act}",
        f"step:{run_id}/{reached.row.path}",
        before={"status": str(reached.status), "attempt": reached.row.attempt},
        after={"status": str(row.status), "attempt": row.attempt, **(told or {})},
        reason=reached.wanted.reason,
    )
