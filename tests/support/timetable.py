"""Schedules of one workflow under a clock that the test moves."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from api.schemas import loading
from api.schemas.schedules import BackfillBody, ScheduleBody, SchedulePatch
from models.database import Database
from models.run import Run
from orchestrator.services import runs as run_service
from orchestrator.services import schedule_acts, schedule_views, schedules, sweeps
from orchestrator.services.idempotency import Once
from orchestrator.services.paging import PageRequest
from tests.support.engine import Engine
from tests.support.probes import NAME, Clock, probe, publish

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
WAITS = {"id": "wait", "type": "wait", "duration": "900d"}
AT_ONCE = {"id": "pass", "type": "noop"}


def published(database: Database, node: dict[str, Any] | None = None, **fields: Any) -> tuple[Engine, Clock]:
    """An engine at `START` with the workflow `w`, by default of one probe."""
    clock = Clock()
    clock.now = START.timestamp()
    return publish(database, node or probe("work"), clock=clock, **fields), clock


def make(ours: Engine, name: str = "s", **fields: Any) -> dict[str, Any]:
    """A schedule, by default of every minute."""
    timing = {} if {"interval", "rrule"} & set(fields) else {"cron": "* * * * *"}
    body = loading.body(ScheduleBody(), {"name": name, "workflow": NAME, **timing, **fields})
    return schedules.create(ours.deps, ours.actor, body, Once())


def edit(ours: Engine, schedule: str = "s", /, **fields: Any) -> dict[str, Any]:
    return schedules.update(ours.deps, ours.actor, schedule, loading.body(SchedulePatch(), fields), Once())


def get(ours: Engine, name: str = "s") -> dict[str, Any]:
    return schedule_views.get(ours.deps, ours.actor, name)


def fill(ours: Engine, start: datetime, end: datetime, name: str = "s", **fields: Any) -> dict[str, Any]:
    given = {"from": start.isoformat(), "to": end.isoformat(), **fields}
    return schedule_acts.backfill(
        ours.deps, ours.actor, name, loading.body(BackfillBody(), given), Once()
    )


def trigger(ours: Engine, name: str = "s") -> dict[str, Any]:
    run, effects = schedule_acts.trigger(ours.deps, ours.actor, name, "", Once())
    ours.send(effects)
    return run


def sweep(ours: Engine) -> None:
    """Sweep schedules once, and carry what they started as far as it goes."""
    ours.send(sweeps.run(ours.deps, "schedules").effects)
    ours.drain()


def moved(ours: Engine, clock: Clock, **span: float) -> None:
    """Time passes, then schedules are swept."""
    clock.now += timedelta(**span).total_seconds()
    sweep(ours)


def fired(ours: Engine, name: str = "s", **filters: Any) -> list[tuple[int, str]]:
    """The fires of a schedule, the oldest first: minutes since `START`, and what became of it."""
    page = PageRequest(limit=200)
    filters = {"kind": None, "outcome": None} | filters
    found = schedule_views.fires_page(ours.deps, ours.actor, name, **filters, request=page)["items"]
    return [(minutes(fire["fire_at"]), fire["outcome"]) for fire in reversed(found)]


def runs(ours: Engine, name: str = "s") -> list[str]:
    """The runs of a schedule, the oldest fire time first."""
    page = PageRequest(limit=200)
    found = schedule_views.fires_page(ours.deps, ours.actor, name, kind=None, outcome=None, request=page)
    return [fire["run_id"] for fire in reversed(found["items"]) if fire["run_id"] is not None]


def minutes(text: str) -> int:
    return round((datetime.fromisoformat(text) - START).total_seconds() / 60)


def statuses(ours: Engine) -> list[str]:
    """Those of all runs, the oldest first."""
    with ours.deps.db.read() as session:
        return list(session.scalars(select(Run.status).order_by(Run.id)))


def end(ours: Engine, run_id: str) -> None:
    """Abort a run."""
    ours.send(run_service.abort(ours.deps, ours.actor, run_id, "a test"))
    ours.drain()
