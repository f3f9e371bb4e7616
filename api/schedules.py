"""`/api/schedules`: runs that start by the clock."""

from typing import Any

from api.nouns import Call, Nouns, answer
from api.schemas import run_answers
from api.schemas import schedules as schemas
from api.schemas.common import ReasonBody
from orchestrator.services import schedule_acts, schedule_views, schedules

bp = Nouns("schedules", __name__, url_prefix="/api/schedules", tag="schedules")


@bp.post("")
@bp.view("operate", body=schemas.ScheduleBody, returns=schemas.Schedule, status=201)
def create_schedule(call: Call) -> Any:
    """Make a schedule of a workflow: cron, interval or recurrence rule."""
    return schedules.create(call.deps, call.actor, call.body, call.once)


@bp.get("")
@bp.view("read", query=schemas.SchedulesQuery, returns=schemas.Schedules)
def list_schedules(call: Call) -> Any:
    """List schedules by name."""
    return schedule_views.list_(call.deps, call.actor, call.query.get("workflow"), call.page())


@bp.get("/<schedule>")
@bp.view("read", returns=schemas.Schedule)
def get_schedule(call: Call, schedule: str) -> Any:
    """Read a schedule, by id or name, with its next fire times, latest fires and backfills."""
    return schedule_views.get(call.deps, call.actor, schedule)


@bp.patch("/<schedule>")
@bp.view("operate", body=schemas.SchedulePatch, returns=schemas.Schedule)
def update_schedule(call: Call, schedule: str) -> Any:
    """Change what is given of a schedule; another timing counts from now on."""
    return schedules.update(call.deps, call.actor, schedule, call.body, call.once)


@bp.delete("/<schedule>")
@bp.view("operate", returns=schemas.Schedule)
def remove_schedule(call: Call, schedule: str) -> Any:
    """Remove a schedule; its runs stay."""
    return schedules.remove(call.deps, call.actor, schedule, call.once)


@bp.post("/<schedule>/pause")
@bp.view("operate", body=ReasonBody, returns=schemas.Schedule)
def pause_schedule(call: Call, schedule: str) -> Any:
    """Let a schedule fire no more until it is resumed."""
    return schedules.pause(call.deps, call.actor, schedule, call.body["reason"], call.once)


@bp.post("/<schedule>/resume")
@bp.view("operate", body=ReasonBody, returns=schemas.Schedule)
def resume_schedule(call: Call, schedule: str) -> Any:
    """Let a schedule fire from now on; what came while it was paused is left out."""
    return schedules.resume(call.deps, call.actor, schedule, call.body["reason"], call.once)


@bp.post("/<schedule>/trigger")
@bp.view("operate", body=ReasonBody, returns=run_answers.Run, status=202)
def trigger_schedule(call: Call, schedule: str) -> Any:
    """Start a run of a schedule now, beside its plan."""
    run, effects = schedule_acts.trigger(call.deps, call.actor, schedule, call.body["reason"], call.once)
    call.runtime.send(effects)
    return answer(run, 202, {"Location": f"/api/runs/{run['id']}"})


@bp.post("/<schedule>/backfill")
@bp.view("operate", body=schemas.BackfillBody, returns=schemas.Backfill, status=202)
def backfill_schedule(call: Call, schedule: str) -> Any:
    """Make up fire times of the past that have no run."""
    return schedule_acts.backfill(call.deps, call.actor, schedule, call.body, call.once)


@bp.get("/<schedule>/fires")
@bp.view("read", query=schemas.FiresQuery, returns=schemas.Fires)
def list_fires(call: Call, schedule: str) -> Any:
    """List what became of a schedule's fire times, the latest first."""
    kind, outcome = call.query.get("kind"), call.query.get("outcome")
    return schedule_views.fires_page(
        call.deps, call.actor, schedule, kind=kind, outcome=outcome, request=call.page()
    )
