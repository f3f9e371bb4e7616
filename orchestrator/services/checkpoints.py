"""Checkpoints of a run: named, listed, found, compared. They are positions in its log and have no rows of their own.

Source: spec "engine", Checkpoints; spec "http-api".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from models.errors import ConflictError, InvalidError, NotFoundError, Problem
from models.event import Event
from models.queries import arrivals, runs
from models.queries.runs import RunInfo
from orchestrator.core import diff
from orchestrator.core.checkpoints import CREATED, ENDS, Checkpoint, checkpoints, mistake
from orchestrator.core.rebuild import State, StepAt, rebuild
from orchestrator.services import auditing, paging, reopening, run_views
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.paging import PageRequest
from orchestrator.services.shapes import moment

_NUMBER = re.compile("[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in a run's log, as it was asked for and by number."""

    name: str
    seq: int


def create(
    deps: Deps, actor: Actor, run_id: str, name: str, reason: str, once: Once | None = None
) -> dict[str, Any]:
    """Name the present position of a run.

    Raises NotFoundError, InvalidError (the name cannot be one), ConflictError (it is taken).
    """
    wrong = mistake(name)
    if wrong is not None:
        raise InvalidError(
            "the checkpoint's name is refused",
            [Problem(pointer="/name", code="INVALID_VALUE", message=wrong)],
        )
    guard = once or Once()
    with deps.db.transaction() as session:
        if (earlier := guard.begin(session)) is not None:
            return earlier
        _, advance = reopening.lock(deps, session, actor, run_id)
        if name in {found.name for found in _named(session, run_id)}:
            raise ConflictError(f"run {run_id} has a checkpoint {name!r} already; choose another name")
        note(session, advance.info, name, actor=actor.name, reason=reason)
        created = _shown(session, run_id, [CREATED])[-1]
        target = f"checkpoint:{run_id}/{name}"
        auditing.record(session, actor, "checkpoint.create", target, after=created, reason=reason)
        guard.finish(session, created)
        return created


def note(
    session: Session, info: RunInfo, name: str, *, actor: str, reason: str = "", automatic: bool = False
) -> None:
    """Write that a checkpoint was made; the caller holds the run's lock."""
    told = {"name": name, "reason": reason, "automatic": automatic}
    runs.note(session, info.id, CREATED, told, actor=actor)


def before(session: Session, info: RunInfo, act: str, seq: int, actor: str) -> None:
    """An automatic one before an act that takes back; `seq`: the run's last event's number."""
    note(session, info, f"before:{act}:{seq + 1}", actor=actor, automatic=True)


def page(deps: Deps, actor: Actor, run_id: str, request: PageRequest) -> dict[str, Any]:
    """A run's checkpoints, oldest first. Raises NotFoundError."""
    scope = ["checkpoints", run_id]
    after = int(request.after(scope) or 0)
    with deps.db.read() as session:
        run_views.found(session, actor.workspace_id, run_id)
        rows = [row for row in _shown(session, run_id, (CREATED, *ENDS)) if row["seq"] > after]
    return paging.page(
        rows[: request.limit + 1], request, scope, place=lambda row: str(row["seq"]), show=dict
    )


def _shown(session: Session, run_id: str, types: Sequence[str]) -> list[dict[str, Any]]:
    events = {event.seq: event for event in arrivals.told(session, run_id, types)}
    return [_row(found, events[found.seq]) for found in checkpoints(events.values())]


def _row(found: Checkpoint, event: Event) -> dict[str, Any]:
    return {
        "name": found.name,
        "seq": found.seq,
        "automatic": found.automatic,
        "at": moment(event.at),
        "actor": event.actor,
        "reason": found.reason or None,
    }


def _named(session: Session, run_id: str) -> list[Checkpoint]:
    return list(checkpoints(arrivals.told(session, run_id, (CREATED, *ENDS))))


def position(log: Sequence[Event], run_id: str, name: str, pointer: str) -> Position:
    """Find a checkpoint by its name, or an event by its number. Raises NotFoundError, InvalidError."""
    if _NUMBER.fullmatch(name):
        return at(log, run_id, int(name), pointer)
    for found in checkpoints(log):
        if found.name == name:
            return at(log, run_id, found.seq, pointer, name)
    raise NotFoundError(
        f"run {run_id} has no checkpoint {name!r}; GET /api/runs/{run_id}/checkpoints lists them"
    )


def at(
    log: Sequence[Event], run_id: str, seq: int, pointer: str, name: str | None = None
) -> Position:
    """The position after an event; amid the events of a restore or a fork, the one at their end.

    Raises InvalidError where there is none of this number.
    """
    last = log[-1].seq if log else 0
    if not 1 <= seq <= last:
        message = f"run {run_id} has events 1 to {last}, none of number {seq}"
        raise InvalidError(message, [Problem(pointer=pointer, code="INVALID_VALUE", message=message)])
    for event in log[seq:]:
        if event.type == "checkpoint.restored" and event.data["first"] <= seq:
            return Position(name=name or str(seq), seq=event.seq)
    return Position(name=name or str(seq), seq=seq)


def compare(deps: Deps, actor: Actor, run_id: str, old: str, new: str) -> dict[str, Any]:
    """What differs between two positions of a run, by names or numbers. Raises NotFoundError, InvalidError."""
    with deps.db.read() as session:
        found, *_ = run_views.found(session, actor.workspace_id, run_id)
        plan = deps.plans.get(session, found.version_id)
        log = arrivals.log(session, run_id)
        places = [position(log, run_id, name, pointer) for name, pointer in ((old, "/from"), (new, "/to"))]
        one, other = (rebuild(plan, log[: place.seq]) for place in places)
        changed = sorted(_differing(one, other))
        there = [state.steps[no] for no in changed for state in (one, other) if no in state.steps]
        wanted = {(step.no, step.told.attempt) for step in there}
        outputs = arrivals.outputs(session, run_id, wanted)
    return {
        "from": {"name": places[0].name, "seq": places[0].seq},
        "to": {"name": places[1].name, "seq": places[1].seq},
        "steps": [_step(one.steps.get(no), other.steps.get(no), outputs) for no in changed],
        "variables": diff.diff(dict(one.variables), dict(other.variables)),
    }


def _differing(one: State, other: State) -> set[int]:
    return {no for no in one.steps.keys() | other.steps.keys() if _at(one.steps.get(no)) != _at(other.steps.get(no))}


def _at(step: StepAt | None) -> dict[str, Any] | None:
    return None if step is None else {"status": step.status.value, "attempt": step.told.attempt}


def _step(
    one: StepAt | None, other: StepAt | None, outputs: Mapping[tuple[int, int], Any]
) -> dict[str, Any]:
    present = other or one
    assert present is not None
    shown: dict[str, Any] = {"path": present.path, "from": _at(one), "to": _at(other)}
    given = [None if s is None else outputs.get((s.no, s.told.attempt)) for s in (one, other)]
    if given[0] != given[1]:
        shown["output"] = {"from": given[0], "to": given[1]}
    return shown
