"""Schedules as callers see them: one, a page of them, the fires of one."""

from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy.orm import Session

from models.errors import NotFoundError
from models.queries import backfills, fires
from models.queries import schedules as queries
from models.queries.fires import Shown
from models.queries.schedules import Found
from models.schedule import Schedule, ScheduleBackfill
from orchestrator.core import timing
from orchestrator.services import paging
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.fire_times import timing_of
from orchestrator.services.paging import PageRequest
from orchestrator.services.shapes import moment

UPCOMING, RECENT = 5, 5
_MOMENT = timedelta(microseconds=1)


def get(deps: Deps, actor: Actor, schedule: str) -> dict[str, Any]:
    """A schedule by id or name, with its latest fires and backfills. Raises NotFoundError."""
    with deps.db.read() as session:
        return whole(session, found(session, actor, schedule))


def list_(deps: Deps, actor: Actor, workflow: str | None, request: PageRequest) -> dict[str, Any]:
    """The workspace's schedules by name, those of a workflow alone where it is given."""
    scope = ["schedules", actor.workspace_id, workflow]
    after = request.after(scope)
    with deps.db.read() as session:
        rows = queries.page(
            session, actor.workspace_id, workflow=workflow, after=after, limit=request.limit + 1
        )
    return paging.page(rows, request, scope, place=lambda row: row[0].name, show=summary)


def fires_page(
    deps: Deps, actor: Actor, schedule: str, *, kind: str | None, outcome: str | None, request: PageRequest
) -> dict[str, Any]:
    """What became of a schedule's fire times, the latest first. Raises NotFoundError."""
    with deps.db.read() as session:
        row, _ = found(session, actor, schedule)
        scope = ["fires", row.id, kind, outcome]
        after = request.after(scope)
        rows = fires.page(
            session,
            row.id,
            kind=kind,
            outcome=outcome,
            before=None if after is None else _parse(after),
            limit=request.limit + 1,
        )
    return paging.page(rows, request, scope, place=_place, show=fire)


def _place(row: Shown) -> str:
    return f"{row[0].fire_at.isoformat()} {row[0].id}"


def _parse(place: str) -> tuple[datetime, str]:
    at, _, fire_id = place.partition(" ")
    return datetime.fromisoformat(at), fire_id


def found(session: Session, actor: Actor, schedule: str, *, lock: bool = False) -> Found:
    """A schedule by id or name, `lock`: for this transaction alone. Raises NotFoundError."""
    find = queries.lock if lock else queries.find
    row = find(session, actor.workspace_id, schedule)
    if row is None:
        raise NotFoundError(f"There is no schedule {schedule!r}; GET /api/schedules lists those that there are")
    return row


def whole(session: Session, row: Found) -> dict[str, Any]:
    """A schedule with its latest fires and backfills."""
    schedule_id = row[0].id
    filled = backfills.page(session, schedule_id, RECENT)
    outcomes = fires.outcomes(session, [each.id for each in filled])
    return {
        **summary(row),
        "recent_fires": [fire(each) for each in fires.page(session, schedule_id, limit=RECENT)],
        "backfills": [backfill(each, outcomes) for each in filled],
    }


def summary(found_row: Found) -> dict[str, Any]:
    """A schedule as a list shows it."""
    row, workflow = found_row
    return {
        "id": row.id,
        "name": row.name,
        "workflow": workflow,
        "version": row.version,
        "cron": row.cron,
        "interval": row.interval,
        "rrule": row.rrule,
        "timezone": row.timezone,
        "starts_at": moment(row.starts_at),
        "ends_at": moment(row.ends_at),
        "inputs": row.inputs,
        "variables": row.variables,
        "labels": row.labels,
        "priority": row.priority,
        "overlap": row.overlap,
        "catch_up": row.catch_up,
        "jitter": row.jitter,
        "paused": row.paused_at is not None,
        "paused_at": moment(row.paused_at),
        "next_fire_at": moment(row.next_fire_at),
        "next_fire_times": [moment(at) for at in _upcoming(row)],
        "last_fire_at": moment(row.last_fire_at),
        "counts": {name: getattr(row, name) for name in ("started", "skipped", "refused", "missed")},
        "created_by": row.created_by,
        "created_at": moment(row.created_at),
        "updated_at": moment(row.updated_at),
    }


def _upcoming(row: Schedule) -> list[datetime]:
    """None while it is paused: nothing is made up of that time."""
    if row.next_fire_at is None:
        return []
    return list(islice(timing.upcoming(timing_of(row), row.next_fire_at - _MOMENT), UPCOMING))


def fire(row: Shown) -> dict[str, Any]:
    """One fire time and what became of it."""
    found_fire, status = row
    return {
        "fire_at": moment(found_fire.fire_at),
        "kind": found_fire.kind,
        "outcome": found_fire.outcome,
        "run_id": found_fire.run_id,
        "run_status": status,
        "error": found_fire.error,
        "backfill_id": found_fire.backfill_id,
        "created_at": moment(found_fire.created_at),
    }


def backfill(row: ScheduleBackfill, outcomes: dict[tuple[str, str], int]) -> dict[str, Any]:
    """A backfill and how far it is."""
    return {
        "id": row.id,
        "from": moment(row.from_at),
        "to": moment(row.to_at),
        "max_parallel": row.max_parallel,
        "total": row.total,
        **{name: outcomes.get((row.id, name), 0) for name in ("queued", "started", "refused")},
        "created_by": row.created_by,
        "created_at": moment(row.created_at),
        "finished_at": moment(row.finished_at),
    }
