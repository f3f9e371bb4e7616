"""The sweep of schedules: what is due is started, what waits goes on when its turn has come.

A fire time's row and its run are one transaction, under the schedule's lock: however many sweep, and wherever one
dies, a fire time has one run. Source: spec "mission", X2.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from models.errors import OrchestratorError
from models.queries import backfills, fires, schedules
from models.schedule import Schedule
from orchestrator.core import timing
from orchestrator.core.effects import Effect
from orchestrator.services import concurrency, fire_queue, refusing, runs
from orchestrator.services.crash import crash_point
from orchestrator.services.deps import Deps
from orchestrator.services.fire_times import actor_of, now, planned, seconds, timing_of, trigger_of
from orchestrator.services.swept import BATCH, Swept, each

STEPS = 100  # transactions for one schedule in one sweep
QUEUE_MOST = 100  # fires of one schedule that wait for their turn
MISSED_STEP = 1_000  # fire times that one transaction counts as missed
ON_TIME = 10.0  # real seconds: what a sweep finds this late was not missed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What one transaction did for a schedule, and whether it may be due again.

    in_the_way: runs that are aborted for the next one, `by` this schedule, before it is started.
    """

    effects: tuple[Effect, ...] = ()
    again: bool = True
    in_the_way: tuple[str, ...] = ()
    by: str | None = None


_REPLACED = "the next run of its schedule takes its place"
_DONE = _Step(again=False)


def sweep(deps: Deps) -> Swept:
    """Start what is due, then what has waited for its turn, then what is left of backfills."""
    with deps.db.read() as session:
        due = schedules.due(session, now(deps), BATCH)
    effects = each(deps, due, _catch_up)
    with deps.db.read() as session:
        waiting, filling = fires.waiting(session, BATCH), backfills.open_(session, BATCH)
    effects += each(deps, waiting, fire_queue.go_on)
    effects += each(deps, filling, fire_queue.fill)
    return Swept(effects=effects, found=max(len(due), len(waiting), len(filling)))


def _catch_up(deps: Deps, schedule_id: str) -> tuple[Effect, ...]:
    effects: list[Effect] = []
    for _ in range(STEPS):
        step = _fire_next(deps, schedule_id)
        effects += step.effects
        for run_id in step.in_the_way:  # a transaction each: none locks two runs
            effects += concurrency.give_way(deps, run_id, _REPLACED, step.by)
        if not step.again:
            break
    return tuple(effects)


def _is_due(deps: Deps, row: Schedule) -> bool:
    return row.due_at is not None and row.due_at <= now(deps)


def _fire_next(deps: Deps, schedule_id: str) -> _Step:
    with deps.db.read() as session:
        row = schedules.get(session, schedule_id)
    if row is None or row.next_fire_at is None or not _is_due(deps, row):
        return _DONE
    try:
        with deps.db.transaction() as session:
            step = _fire(deps, session, schedule_id)
            crash_point("before_fire_commit")
            return step
    except OrchestratorError as error:
        return _refuse(deps, schedule_id, row.next_fire_at, error)


def _fire(deps: Deps, session: Session, schedule_id: str) -> _Step:
    row = schedules.take(session, schedule_id)
    if row is None or row.next_fire_at is None or not _is_due(deps, row):
        return _DONE
    fire_at = row.next_fire_at
    number, later = timing.missed(timing_of(row), fire_at, _oldest(deps, row), MISSED_STEP)
    if number:
        schedules.note(session, row.id, missed=row.missed + number, **planned(row.id, later, row.jitter))
        return _Step()
    if fires.is_known(session, row.id, fire_at):  # by a backfill, or before an edit
        _plan_next(session, row, fire_at)
        return _Step()
    fires.settle(session, row.id)
    live = () if row.overlap == "allow" else fires.live_runs(session, row.id)
    trigger = trigger_of(row, fire_at, "planned")
    going = tuple(run_id for run_id, ending in live if not ending)
    if row.overlap == "cancel_previous" and going:
        runs.check(session, deps, actor_of(row), row.workflow_id, trigger)  # what is refused takes nobody's place
        return _Step(in_the_way=going, by=actor_of(row).name)
    if live and row.overlap == "skip":
        message = f"run {live[0][0]} of this schedule goes on"
        _add(session, row, fire_at, outcome="skipped", error={"code": "OVERLAP", "message": message})
        return _Step()
    if row.overlap == "queue" and (waiting := fires.queued(session, row.id) + bool(live)):
        _queue(session, row, fire_at, full=waiting > QUEUE_MOST)
        return _Step()
    created = runs.create_in(session, deps, actor_of(row), row.workflow_id, trigger)
    _add(session, row, fire_at, outcome="started", run_id=created.run_id, live=True)
    return _Step(effects=created.effects)


def _oldest(deps: Deps, row: Schedule) -> datetime:
    """Fire times before this are not made up. Jitter is no lateness."""
    on_time = max(ON_TIME, 5 * deps.settings.sweep_seconds) / deps.clock.real(1.0)
    window = max(seconds(row.catch_up), on_time) + seconds(row.jitter)
    return now(deps) - timedelta(seconds=window)


def _queue(session: Session, row: Schedule, fire_at: datetime, *, full: bool) -> None:
    if full:
        message = f"{QUEUE_MOST} fires of this schedule wait for their turn already"
        _add(session, row, fire_at, outcome="skipped", error={"code": "QUEUE_FULL", "message": message})
    else:
        _add(session, row, fire_at, outcome="queued")


def _refuse(deps: Deps, schedule_id: str, fire_at: datetime, error: OrchestratorError) -> _Step:
    """The run cannot be started: the fire says why, and the schedule goes on."""
    with deps.db.transaction() as session:
        row = schedules.take(session, schedule_id)
        if row is None or row.next_fire_at != fire_at or row.due_at is None:
            return _DONE
        refusing.tell(session, row, fire_at, error)
        _add(session, row, fire_at, outcome="refused", error=refusing.shown(error))
    return _Step()


def _add(session: Session, row: Schedule, fire_at: datetime, *, outcome: str, **values: object) -> None:
    fire = {"schedule_id": row.id, "fire_at": fire_at, "kind": "planned", "outcome": outcome, **values}
    added = fires.add(session, fire)
    assert added, f"schedule {row.id} has {fire_at} already, though it is locked"
    if outcome != "queued":
        schedules.count(session, row.id, outcome)
    _plan_next(session, row, fire_at)


def _plan_next(session: Session, row: Schedule, fire_at: datetime) -> None:
    later = timing.next_after(timing_of(row), fire_at)
    schedules.note(session, row.id, last_fire_at=fire_at, **planned(row.id, later, row.jitter))
