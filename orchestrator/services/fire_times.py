"""A schedule's row as the core sees it: when it fires, and what is started then."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from models.schedule import Schedule
from orchestrator.core import durations, timing
from orchestrator.core.timing import Timing
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.runs import Trigger
from orchestrator.services.shapes import moment

TIMING = ("cron", "interval", "rrule", "timezone", "starts_at", "ends_at")


def now(deps: Deps) -> datetime:
    """The virtual clock's time, which schedules follow."""
    return datetime.fromtimestamp(deps.clock.now(), UTC)


def timing_of(row: Schedule) -> Timing:
    """When a schedule fires."""
    return Timing(anchor=row.anchor_at, **{name: getattr(row, name) for name in TIMING})


def planned(schedule_id: str, at: datetime | None, jitter: Any) -> Mapping[str, datetime | None]:
    """The columns that say when it fires next; None: it does not any more."""
    late = None if at is None else timing.jitter(schedule_id, at, seconds(jitter))
    return {"next_fire_at": at, "due_at": None if at is None or late is None else at + late}


def seconds(duration: Any) -> float:
    """A duration that was checked when it was written."""
    return durations.seconds(duration) or 0.0


def actor_of(row: Schedule) -> Actor:
    """Who starts what no person does."""
    key_id, name = f"schedule:{row.id}", f"schedule:{row.name}"
    return Actor(workspace_id=row.workspace_id, key_id=key_id, scopes=frozenset(), name=name)


def trigger_of(row: Schedule, fire_at: datetime, kind: str) -> Trigger:
    """What is started for a fire time; the run finds it in its variable `schedule`."""
    fired = {"id": row.id, "name": row.name, "fire_at": str(moment(fire_at)), "kind": kind}
    return Trigger(
        inputs=row.inputs,
        variables={"schedule": fired, **row.variables},
        priority=row.priority,
        version=row.version,
        labels={**row.labels, "schedule": row.name},
        schedule=fired,
    )
