"""A new run out of a position of another one: what was decided by then is copied and costs nothing, the rest is done.

Its own log explains its rows: `run.created` names the origin, each copied step has an event with `copied`, the number
of the origin's attempt whose outcome it has. Source: spec "engine", Checkpoints and Control.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from models.base import uuid7
from models.errors import ConflictError, InvalidError, NotFoundError
from models.event import Event
from models.queries import arrivals, runs
from models.queries.runs import RunInfo
from models.run import Run, RunData
from models.run_moves import NewRun, RunEvent
from models.states import RunStatus
from orchestrator.core import schema
from orchestrator.core.aims import Aims, aim
from orchestrator.core.plan import Plan
from orchestrator.core.rebuild import State, rebuild
from orchestrator.core.undone import undone
from orchestrator.services import audited, checkpoints, concurrency, provisioning, run_views
from orchestrator.services.actors import Actor
from orchestrator.services.advance import Advance
from orchestrator.services.arriving import Arrival
from orchestrator.services.checkpoints import Position
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.runs import MICROCENTS, Created


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Where to fork a run: just one of a step (it and all behind it is done again), a checkpoint, an event's number.

    inputs, variables: laid over those of the origin, whole keys.
    """

    run_id: str
    from_step: str | None = None
    checkpoint: str | None = None
    seq: int | None = None
    inputs: Mapping[str, Any] | None = None
    variables: Mapping[str, Any] | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origin:
    """What a run is forked from."""

    run: Run
    data: RunData
    workflow: str
    version: int
    plan: Plan
    log: Sequence[Event]


def fork(deps: Deps, actor: Actor, wanted: Wanted, once: Once | None = None) -> Created:
    """Start a run from a position of another one, of the same version of its workflow.

    Raises NotFoundError (run, step, checkpoint), InvalidError (inputs, no such event), ConflictError (a step that
    cannot be done again by itself, a concurrency key without room, an origin that undoes what it has done).
    """
    guard = once or Once()
    with deps.db.transaction() as session:
        if (earlier := guard.begin(session)) is not None:
            return Created(run_id=earlier["id"])
        origin = _origin(deps, session, actor, wanted.run_id)
        if origin.run.status == RunStatus.COMPENSATING:
            raise ConflictError(
                f"run {wanted.run_id} is compensating, and what it would give is being undone; wait until it has ended"
            )
        place, aims, state = _aims(origin, wanted)
        created = _create(deps, session, actor, origin, wanted, place, aims, state)
        audited.run(session, actor, "fork", created.run_id, None, wanted.reason, _told(wanted, place))
        guard.finish(session, {"id": created.run_id})
        return created


def _told(wanted: Wanted, place: Position) -> dict[str, Any]:
    return {"forked_from": wanted.run_id, "seq": place.seq, "inputs": wanted.inputs, "variables": wanted.variables}


def _origin(deps: Deps, session: Session, actor: Actor, run_id: str) -> _Origin:
    run, data, workflow, version = run_views.found(session, actor.workspace_id, run_id)
    plan = deps.plans.get(session, run.version_id)
    log = arrivals.log(session, run.id)
    return _Origin(run=run, data=data, workflow=workflow, version=version, plan=plan, log=log)


def _aims(origin: _Origin, wanted: Wanted) -> tuple[Position, Aims, State]:
    run_id, log = origin.run.id, origin.log
    if wanted.checkpoint is not None:
        place = checkpoints.position(log, run_id, wanted.checkpoint, "/checkpoint")
    else:
        last = log[-1].seq if wanted.seq is None else wanted.seq
        place = checkpoints.at(log, run_id, last, "/seq")
    step = None if wanted.from_step is None else _number(origin, wanted.from_step)
    state = rebuild(origin.plan, log[: place.seq])
    again = undone(origin.plan, log, state) | ({step} if step is not None else set())
    aims = aim(origin.plan, state, again=again)
    if step is not None and step not in aims.anew:
        raise ConflictError(
            f"step {wanted.from_step} was skipped since too few edges to it live; "
            "fork from the step that decided them"
        )
    return place, aims, state


def _number(origin: _Origin, path: str) -> int:
    no = origin.plan.numbers.get(path)
    if no is not None:
        return no
    if "/" in path and origin.plan.place_of(path) is not None:
        raise ConflictError(
            f"step {path} is in a loop or parallel; fork from {path.partition('[')[0]}, or at a checkpoint or event"
        )
    run_id = origin.run.id
    raise NotFoundError(f"run {run_id} has no step {path!r}; GET /api/runs/{run_id}/steps lists them")


def _create(
    deps: Deps,
    session: Session,
    actor: Actor,
    origin: _Origin,
    wanted: Wanted,
    place: Position,
    aims: Aims,
    state: State,
) -> Created:
    inputs = {**origin.data.inputs, **(wanted.inputs or {})}
    variables = {**state.variables, **(wanted.variables or {})}
    _check(origin.plan, inputs)
    info = _info(session, actor, origin, inputs, variables)
    source = {"run_id": origin.run.id, "seq": place.seq}
    source |= {} if wanted.from_step is None else {"from_step": wanted.from_step}
    source |= {} if wanted.checkpoint is None else {"checkpoint": wanted.checkpoint}
    _insert(deps, session, actor, origin, info, variables, source, wanted.reason)
    advance = Advance(deps=deps, session=session, plan=origin.plan, info=info)
    files = provisioning.wanted(session, origin.plan, info)
    Arrival(
        advance=advance,
        aims=aims,
        origin=origin.run.id,
        seq=place.seq,
        variables=variables,
        told=source,
        actor=actor.name,
        digests=inputs == origin.data.inputs,
    ).arrive()
    return Created(run_id=info.id, effects=(*files, *advance.waves()))


def _check(plan: Plan, inputs: Mapping[str, Any]) -> None:
    problems = [] if plan.inputs_schema is None else schema.problems(plan.inputs_schema, inputs, "/inputs")
    if problems:
        raise InvalidError("the run's inputs are refused; nothing was started", problems)


def _info(
    session: Session, actor: Actor, origin: _Origin, inputs: Mapping[str, Any], variables: Mapping[str, Any]
) -> RunInfo:
    key = concurrency.key_of(origin.plan, origin.run.workflow_id, inputs, variables)
    if key is not None and not concurrency.may_start(session, origin.plan, key):
        raise ConflictError(
            f"the concurrency key {concurrency.name_of(key)!r} has no room for another run of the workflow; "
            "fork again when one has ended"
        )
    return RunInfo(
        id=uuid7(),
        workspace_id=actor.workspace_id,
        workflow=origin.workflow,
        version_id=origin.run.version_id,
        has_budget=_limit(session, origin) is not None,
        priority=origin.run.priority,
        inputs=inputs,
        overrides=origin.data.overrides,
        concurrency_key=key,
    )


def _limit(session: Session, origin: _Origin) -> dict[str, Any] | None:
    """The origin's own budget, or its workflow's where it drew on that of a run above it; nothing is spent of it."""
    own = runs.budget(session, origin.run.id)
    if own is not None:
        return {"limit_microcents": own.limit_microcents, "on_exceeded": own.on_exceeded}
    cents = origin.plan.budget_cents
    if cents is None or not origin.run.has_budget:
        return None
    return {"limit_microcents": cents * MICROCENTS, "on_exceeded": origin.plan.on_exceeded}


def _insert(
    deps: Deps,
    session: Session,
    actor: Actor,
    origin: _Origin,
    info: RunInfo,
    variables: Mapping[str, Any],
    source: Mapping[str, Any],
    reason: str,
) -> None:
    plan = origin.plan
    timeout = None if plan.timeout is None else datetime.fromtimestamp(deps.clock.now() + plan.timeout, UTC)
    told = {
        "workflow": info.workflow,
        "version": origin.version,
        "nodes": plan.width,
        "variables": variables,
        "forked_from": source,
        "reason": reason,
    }
    events = [RunEvent(type="run.created", data=told, actor=actor.name)]
    if info.overrides:
        events.append(RunEvent(type="override.applied", data=info.overrides, actor=actor.name))
    new = NewRun(
        id=info.id,
        workspace_id=info.workspace_id,
        workflow_id=origin.run.workflow_id,
        version_id=info.version_id,
        status=RunStatus.RUNNING,
        events=(*events, RunEvent(type="run.started")),
        steps=plan.step_rows,
        open_steps=plan.width,
        priority=info.priority,
        has_budget=info.has_budget,
        concurrency_key=info.concurrency_key,
        timeout_at=timeout,
        inputs=info.inputs,
        variables=variables,
        overrides=info.overrides,
        labels=dict(origin.data.labels),
        created_by=actor.name,
        forked_from=source,
        budget=_limit(session, origin),
    )
    runs.create(session, new)
