"""Runs of a schedule that a person asks for: one now, or those of fire times of the past."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy.orm import Session

from models.errors import InvalidError, Problem
from models.queries import backfills, fires, schedules
from orchestrator.core import timing
from orchestrator.core.effects import Effect
from orchestrator.core.timing import Timing
from orchestrator.services import auditing, run_views, runs
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.fire_times import now, timing_of, trigger_of
from orchestrator.services.idempotency import Once
from orchestrator.services.schedule_views import backfill as shown
from orchestrator.services.schedule_views import found

MOST = 10_000  # fire times of one backfill
_MOMENT = timedelta(microseconds=1)


def trigger(
    deps: Deps, actor: Actor, schedule: str, reason: str, once: Once
) -> tuple[dict[str, Any], tuple[Effect, ...]]:
    """Start a run now, beside the plan and whatever goes on, paused or not: the run, and what is to be sent.

    Raises NotFoundError, and what `runs.create` raises.
    """
    guard = run_views.keep_whole(deps, actor, once)
    with deps.db.transaction() as session:
        if (kept := guard.begin(session)) is not None:
            return kept, ()
        row, _ = found(session, actor, schedule, lock=True)
        fire_at = now(deps)
        started = trigger_of(row, fire_at, "manual")
        created = runs.create_in(session, deps, actor, row.workflow_id, started)
        fire = {"schedule_id": row.id, "fire_at": fire_at, "kind": "manual", "outcome": "started"}
        fires.add(session, {**fire, "run_id": created.run_id, "live": True})
        schedules.count(session, row.id, "started")
        told = {"run_id": created.run_id}
        auditing.record(
            session, actor, "schedule.trigger", f"schedule:{row.id}", after=told, reason=reason
        )
        guard.finish(session, {"id": created.run_id})
    return guard.answer or run_views.run(deps, actor, created.run_id), created.effects


def backfill(deps: Deps, actor: Actor, schedule: str, body: Mapping[str, Any], once: Once) -> dict[str, Any]:
    """Make up the fire times from `from` to `to` (both included) that have no run, `max_parallel` at once.

    Raises NotFoundError, InvalidError (a range that is none, lies ahead, or has over 10,000 fire times).
    """
    from_at, to_at = body["from_"], body["to"]
    _check(from_at, to_at, now(deps))
    with deps.db.read() as session:
        counted = timing_of(found(session, actor, schedule)[0])
    times = _times(counted, from_at, to_at)  # before the lock, since it may take a second
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        row, _ = found(session, actor, schedule, lock=True)
        if timing_of(row) != counted:
            times = _times(timing_of(row), from_at, to_at)
        values = {"from_at": from_at, "to_at": to_at, "max_parallel": body["max_parallel"]}
        made = backfills.add(session, {"schedule_id": row.id, **values, "created_by": actor.name})
        backfills.set_total(session, made, fires.fill(session, row.id, made, times))
        answer = _shown(session, made)
        auditing.record(session, actor, "schedule.backfill", f"schedule:{row.id}", after=answer)
        once.finish(session, answer)
        return answer


def _shown(session: Session, backfill_id: str) -> dict[str, Any]:
    session.expire_all()
    return shown(backfills.get(session, backfill_id), fires.outcomes(session, [backfill_id]))


def _times(counted: Timing, from_at: datetime, to_at: datetime) -> list[datetime]:
    found_times = []
    for at in islice(timing.upcoming(counted, from_at - _MOMENT), MOST + 1):
        if at > to_at:
            break
        found_times.append(at)
    if len(found_times) > MOST:
        raise _refused("/to", f"There are more than {MOST} fire times in it; backfill a shorter range first")
    return found_times


def _check(from_at: datetime, to_at: datetime, at: datetime) -> None:
    if to_at < from_at:
        raise _refused("/to", "to is before from; make it the later one")
    if to_at > at:
        raise _refused("/to", "to lies ahead; what is to come fires by itself")


def _refused(pointer: str, message: str) -> InvalidError:
    return InvalidError(message, [Problem(pointer=pointer, code="INVALID_VALUE", message=message)])
