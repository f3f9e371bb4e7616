"""Fires that wait for their turn: those of the plan under `overlap: queue`, and those of backfills."""

from sqlalchemy.orm import Session

from models.errors import OrchestratorError
from models.queries import backfills, fires, schedules
from models.schedule import Schedule, ScheduleBackfill, ScheduleFire
from orchestrator.core.effects import Effect
from orchestrator.services import refusing, runs
from orchestrator.services.deps import Deps
from orchestrator.services.fire_times import actor_of, trigger_of

STEPS = 100  # runs of one schedule, or one backfill, that a sweep starts


def go_on(deps: Deps, schedule_id: str) -> tuple[Effect, ...]:
    """Start the fires of a schedule that wait, each when the one before it has ended."""
    return _start_all(deps, schedule_id, None)


def fill(deps: Deps, backfill: ScheduleBackfill) -> tuple[Effect, ...]:
    """Start what a backfill has left, the oldest first, `max_parallel` at once."""
    return _start_all(deps, backfill.schedule_id, backfill)


def _start_all(deps: Deps, schedule_id: str, backfill: ScheduleBackfill | None) -> tuple[Effect, ...]:
    effects: list[Effect] = []
    for _ in range(STEPS):
        started = _start_next(deps, schedule_id, backfill)
        if started is None:
            break
        effects += started
    return tuple(effects)


def _start_next(
    deps: Deps, schedule_id: str, backfill: ScheduleBackfill | None
) -> tuple[Effect, ...] | None:
    """Start the next one that has its turn; None where none has."""
    fire: ScheduleFire | None = None
    try:
        with deps.db.transaction() as session:
            row, fire = _turn(session, schedule_id, backfill)
            if row is None or fire is None:
                return None
            trigger = trigger_of(row, fire.fire_at, fire.kind)
            created = runs.create_in(session, deps, actor_of(row), row.workflow_id, trigger)
            fires.change(session, fire.id, outcome="started", run_id=created.run_id, live=True)
            schedules.count(session, row.id, "started")
            return created.effects
    except OrchestratorError as error:
        if fire is None:
            raise
        return _refuse(deps, schedule_id, fire, error)


def _turn(
    session: Session, schedule_id: str, backfill: ScheduleBackfill | None
) -> tuple[Schedule | None, ScheduleFire | None]:
    row = schedules.take(session, schedule_id)
    if row is None:
        return None, None
    fires.settle(session, row.id)
    if backfill is None:
        held = row.paused_at is not None or bool(fires.live_runs(session, row.id))
        return row, None if held else fires.next_queued(session, row.id, None)
    going = fires.filling(session, row.id, backfill.id)
    if going >= backfill.max_parallel:
        return row, None
    fire = fires.next_queued(session, row.id, backfill.id)
    if fire is None and going == 0:
        backfills.finish(session, backfill.id)
    return row, fire


def _refuse(
    deps: Deps, schedule_id: str, fire: ScheduleFire, error: OrchestratorError
) -> tuple[Effect, ...] | None:
    with deps.db.transaction() as session:
        row = schedules.take(session, schedule_id)
        if row is None or not fires.refuse(session, fire.id, refusing.shown(error)):
            return None
        schedules.count(session, row.id, "refused")
        refusing.tell(session, row, fire.fire_at, error)
    return ()
