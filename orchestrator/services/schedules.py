"""Schedules as people keep them: made, changed, paused, resumed, removed. Each act is audited."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from models.errors import ConflictError, InvalidError, NotFoundError, Problem
from models.queries import schedules as queries
from models.queries.sweeps import moment as real_now
from models.schedule import Schedule
from orchestrator.core import durations, timing
from orchestrator.core.timing import Timing
from orchestrator.services import auditing, naming, runs
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.fire_times import TIMING, now, planned, timing_of
from orchestrator.services.idempotency import Once
from orchestrator.services.runs import Trigger
from orchestrator.services.schedule_views import found, whole

_KINDS = ("cron", "interval", "rrule")
_STARTED = ("inputs", "variables", "labels", "priority", "version")
_KEPT = (*_STARTED, "overlap", "catch_up", "jitter")
_LONGEST_JITTER = 86_400.0


def create(deps: Deps, actor: Actor, body: Mapping[str, Any], once: Once) -> dict[str, Any]:
    """A new schedule. Raises InvalidError (name, workflow, timing, durations, inputs), ConflictError (name taken,
    workflow archived), BudgetExceededError."""
    name = naming.checked(body["name"])
    anchor = now(deps).replace(microsecond=0)
    fires_at = Timing(anchor=anchor, **{field: body[field] for field in TIMING if field in body})
    _check(fires_at, body)
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        values = {
            "workspace_id": actor.workspace_id,
            "workflow_id": _workflow(session, deps, actor, body["workflow"], body),
            "name": name,
            "anchor_at": anchor,
            "created_by": actor.name,
            **{field: body.get(field) for field in (*TIMING, *_KEPT)},
        }
        made = queries.add(session, values)
        if made is None:
            raise _taken(name)
        queries.note(session, made, **planned(made, timing.next_after(fires_at, now(deps)), body["jitter"]))
        return _done(session, actor, once, "create", made, None)


def update(
    deps: Deps, actor: Actor, schedule: str, body: Mapping[str, Any], once: Once
) -> dict[str, Any]:
    """Change what is given. Another timing counts from now on: what was due and not started yet is left out.

    Raises NotFoundError, and what `create` raises.
    """
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        found_row = found(session, actor, schedule, lock=True)
        row, before = found_row[0], whole(session, found_row)
        values = {field: body[field] for field in (*TIMING, *_KEPT) if field in body}
        if any(body.get(kind) is not None for kind in _KINDS):
            values = dict.fromkeys(_KINDS) | values
        if "name" in body:
            values["name"] = _name(session, actor, row, body["name"])
        fires_at = _changed(row, values)
        _check(fires_at, values)
        if {"workflow", *_STARTED} & set(body):
            given = {field: body.get(field, getattr(row, field)) for field in _STARTED}
            named = body.get("workflow", row.workflow_id)
            values["workflow_id"] = _workflow(session, deps, actor, named, given)
        values |= _again(deps, row, fires_at, values)
        queries.change(session, row.id, values)
        return _done(session, actor, once, "update", row.id, before)


def _changed(row: Schedule, values: Mapping[str, Any]) -> Timing:
    return Timing(
        anchor=row.anchor_at, **{field: values.get(field, getattr(row, field)) for field in TIMING}
    )


def _again(deps: Deps, row: Schedule, fires_at: Timing, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """When it fires next: as before, unless its timing is another one."""
    if row.paused_at is not None:
        return {}
    at = row.next_fire_at
    if fires_at != timing_of(row):
        at = timing.next_after(fires_at, _after(deps, row))
    return planned(row.id, at, values.get("jitter", row.jitter))


def _after(deps: Deps, row: Schedule) -> datetime:
    """From when on it may fire: nothing fires twice."""
    return now(deps) if row.last_fire_at is None else max(now(deps), row.last_fire_at)


def remove(deps: Deps, actor: Actor, schedule: str, once: Once) -> dict[str, Any]:
    """Remove a schedule with what became of its fire times; its runs stay. Raises NotFoundError."""
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        row = found(session, actor, schedule, lock=True)
        answer = whole(session, row)
        queries.remove(session, row[0].id)
        auditing.record(session, actor, "schedule.delete", f"schedule:{row[0].id}", before=answer)
        once.finish(session, answer)
        return answer


def pause(deps: Deps, actor: Actor, schedule: str, reason: str, once: Once) -> dict[str, Any]:
    """Let it fire no more until it is resumed; its runs go on. Raises NotFoundError; paused already is no error."""
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        row = found(session, actor, schedule, lock=True)
        before = whole(session, row)
        if row[0].paused_at is not None:
            return _unchanged(session, once, before)
        values = {"paused_at": real_now(session), "next_fire_at": None, "due_at": None}
        queries.change(session, row[0].id, values)
        return _done(session, actor, once, "pause", row[0].id, before, reason)


def resume(deps: Deps, actor: Actor, schedule: str, reason: str, once: Once) -> dict[str, Any]:
    """Let it fire from now on; what came while it was paused is left out. Raises NotFoundError."""
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        found_row = found(session, actor, schedule, lock=True)
        row, before = found_row[0], whole(session, found_row)
        if row.paused_at is None:
            return _unchanged(session, once, before)
        at = timing.next_after(timing_of(row), _after(deps, row))
        queries.change(session, row.id, {"paused_at": None, **planned(row.id, at, row.jitter)})
        return _done(session, actor, once, "resume", row.id, before, reason)


def _unchanged(session: Session, once: Once, answer: dict[str, Any]) -> dict[str, Any]:
    """It was as it is asked to be: no act."""
    once.finish(session, answer)
    return answer


def _done(
    session: Session,
    actor: Actor,
    once: Once,
    act: str,
    schedule_id: str,
    before: Mapping[str, Any] | None,
    reason: str | None = None,
) -> dict[str, Any]:
    session.expire_all()
    answer = whole(session, found(session, actor, schedule_id))
    target = f"schedule:{schedule_id}"
    auditing.record(
        session, actor, f"schedule.{act}", target, before=before, after=answer, reason=reason
    )
    once.finish(session, answer)
    return answer


def _check(fires_at: Timing, values: Mapping[str, Any]) -> None:
    problems = timing.problems(fires_at)
    for field, longest in (("catch_up", durations.LONGEST), ("jitter", _LONGEST_JITTER)):
        found_seconds = durations.seconds(values.get(field, 0))
        if found_seconds is None or found_seconds > longest:
            message = (
                f"{values[field]!r} is no duration of 0 to {longest / 86_400:g} days; write 30s, 5m, 2h, 7d or a "
                "number of seconds"
            )
            problems.append(Problem(pointer=f"/{field}", code="INVALID_DURATION", message=message))
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InvalidError(f"The schedule has {count}; see errors", problems)


def _workflow(session: Session, deps: Deps, actor: Actor, workflow: str, given: Mapping[str, Any]) -> str:
    """The id of a workflow that takes what is given. Raises InvalidError, ConflictError, BudgetExceededError."""
    trigger = Trigger(**{field: given[field] for field in _STARTED if given.get(field) is not None})
    try:
        return runs.check(session, deps, actor, workflow, trigger).workflow_id
    except NotFoundError as error:
        pointer = "/workflow" if given.get("version") is None else "/version"
        problem = Problem(pointer=pointer, code="INVALID_VALUE", message=str(error))
        raise InvalidError(str(error), [problem]) from error


def _name(session: Session, actor: Actor, row: Schedule, name: str) -> str:
    checked = naming.checked(name)
    if queries.name_is_taken(session, actor.workspace_id, checked, but=row.id):
        raise _taken(checked)
    return checked


def _taken(name: str) -> ConflictError:
    return ConflictError(f"There is a schedule {name!r} already; choose another name")
