"""Runs: created by a trigger, and controlled by people.

Every function owns its transaction and returns effects; the caller sends them after it has returned.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from models.base import uuid7
from models.errors import BudgetExceededError, ConflictError, InvalidError, NotFoundError, Problem
from models.queries import calls, runs, workflows
from models.queries.dialect import as_id
from models.queries.runs import RunInfo, RunState
from models.queries.workflows import Runnable
from models.run_moves import NewRun, RunEvent
from models.states import RUN_TERMINAL, RunStatus
from orchestrator.core import schema
from orchestrator.core.effects import Arrange, Effect
from orchestrator.core.outcome import Call
from orchestrator.core.plan import Plan
from orchestrator.services import audited, concurrency, links, pausing, provisioning, run_starts, telling
from orchestrator.services.actors import Actor
from orchestrator.services.advance import Advance
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.links import Link

MICROCENTS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What a run is started with. `budget` is {limit_cents, on_exceeded?}; `version` None: the current one.

    `schedule`: what started it where that is a schedule, {id, name, fire_at, kind}.
    """

    inputs: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    budget: dict[str, Any] | None = None
    overrides: dict[str, Any] | None = None
    priority: int = 0
    version: int | None = None
    labels: dict[str, str] = field(default_factory=dict)
    schedule: dict[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A run that was created, or the one that an earlier call with the same idempotency key created."""

    run_id: str
    effects: tuple[Effect, ...] = ()


def create(deps: Deps, actor: Actor, workflow: str, trigger: Trigger, once: Once | None = None) -> Created:
    """Start a run of a workflow (by id or name) in one transaction: rows, events, first ready set.

    Raises NotFoundError (workflow, version), ConflictError (archived, or its concurrency key refuses it),
    InvalidError (inputs that the schema refuses, with pointers below /inputs),
    BudgetExceededError (the estimate is above the limit).
    """
    with deps.db.transaction() as session:
        if once is not None and (earlier := once.begin(session)) is not None:
            return Created(run_id=earlier["id"])
        found, plan = _checked(session, deps, actor, workflow, trigger)
        created = _create(deps, session, actor, plan, found, trigger, uuid7())
        audited.run(session, actor, "create", created.run_id, None, told=_told(found, trigger))
        if once is not None:
            once.finish(session, {"id": created.run_id})
    return created


def create_in(session: Session, deps: Deps, actor: Actor, workflow: str, trigger: Trigger) -> Created:
    """The same in the caller's transaction, which holds no run's lock, and unaudited. Raises what `create` raises."""
    found, plan = _checked(session, deps, actor, workflow, trigger)
    return _create(deps, session, actor, plan, found, trigger, uuid7())


def check(session: Session, deps: Deps, actor: Actor, workflow: str, trigger: Trigger) -> Runnable:
    """The version that a run would be of, were it started now. Raises what `create` raises of it."""
    return _checked(session, deps, actor, workflow, trigger)[0]


def _checked(
    session: Session, deps: Deps, actor: Actor, workflow: str, trigger: Trigger
) -> tuple[Runnable, Plan]:
    found = _runnable(session, actor, workflow, trigger.version)
    plan = deps.plans.get(session, found.version_id)
    _check(plan, found, trigger)
    return found, plan


def create_called(
    deps: Deps, session: Session, actor: Actor, call: Call, trigger: Trigger, link: Link
) -> Sequence[Effect]:
    """Start the run that a step calls, in the caller's transaction. Raises what `create` raises."""
    found = _runnable(session, actor, call.workflow, call.version)
    plan = deps.plans.get(session, found.version_id)
    _check(plan, found, trigger, link)
    return _create(deps, session, actor, plan, found, trigger, call.run_id, link).effects


def _told(found: Runnable, trigger: Trigger) -> dict[str, Any]:
    return {
        "workflow": found.name,
        "version": found.number,
        "inputs": trigger.inputs,
        "variables": trigger.variables,
        "budget": trigger.budget,
        "overrides": trigger.overrides,
        "priority": trigger.priority,
        "labels": trigger.labels,
    }


def _runnable(session: Session, actor: Actor, workflow: str, version: int | None) -> Runnable:
    found = workflows.version(session, actor.workspace_id, workflow, version)
    if found is None:
        raise NotFoundError(_missing(workflow, version))
    if found.archived_at is not None:
        raise ConflictError(f"workflow {found.name!r} is archived; PUT its definition again to run it")
    return found


def _missing(workflow: str, version: int | None) -> str:
    if version is None:
        return f"there is no workflow {workflow!r}; GET /api/workflows lists those that there are"
    return (
        f"workflow {workflow!r} has no version {version}; GET /api/workflows/{workflow}/versions lists them"
    )


def _check(plan: Plan, version: Runnable, trigger: Trigger, link: Link | None = None) -> None:
    problems: list[Problem] = []
    if plan.inputs_schema is not None:
        problems += schema.problems(plan.inputs_schema, trigger.inputs, "/inputs")
    known = {node.id for node in plan.nodes}
    for node_id in (trigger.overrides or {}).get("nodes", {}):
        if node_id not in known:
            problems.append(
                Problem(
                    pointer=f"/overrides/nodes/{node_id}",
                    code="UNKNOWN_FIELD",
                    message=f"the workflow has no node {node_id!r}",
                )
            )
    if problems:
        raise InvalidError("the run's inputs are refused; nothing was started", problems)
    limit = None if links.draws(link) else (trigger.budget or {}).get("limit_cents", plan.budget_cents)
    if limit is not None and version.estimated_cost_cents > limit:
        raise BudgetExceededError(
            f"the estimate is {version.estimated_cost_cents} cents, above the budget of {limit} cents; "
            "raise budget.limit_cents or make the workflow cheaper"
        )


def _create(
    deps: Deps,
    session: Session,
    actor: Actor,
    plan: Plan,
    found: Runnable,
    trigger: Trigger,
    run_id: str,
    link: Link | None = None,
) -> Created:
    budget = None if links.draws(link) else _budget(plan, trigger)
    variables = dict(plan.variables) | trigger.variables
    key = concurrency.key_of(plan, found.workflow_id, trigger.inputs, variables)
    starts = key is None or concurrency.may_start(session, plan, key)
    enters = starts and not (link is not None and link.paused)
    new = NewRun(
        id=run_id,
        workspace_id=actor.workspace_id,
        workflow_id=found.workflow_id,
        version_id=found.version_id,
        status=RunStatus.RUNNING if starts else RunStatus.PENDING,
        events=_first_events(actor, plan, found, trigger, variables, link, starts=starts),
        steps=plan.started_rows if enters else plan.step_rows,
        queued=len(plan.queued) if enters else 0,
        open_steps=plan.width,
        priority=trigger.priority,
        has_budget=budget is not None or links.draws(link),
        concurrency_key=key,
        timeout_at=concurrency.timeout_at(deps, plan, started=starts),
        inputs=trigger.inputs,
        variables=variables,
        overrides=trigger.overrides,
        labels=dict(plan.labels) | trigger.labels,
        created_by=actor.name,
        budget=budget,
        **links.columns(link),
    )
    runs.create(session, new)
    info = _info(new, found)
    files = provisioning.wanted(session, plan, info)
    if not starts:
        assert key is not None
        return Created(run_id=run_id, effects=(*files, Arrange(key=key)))
    advance = Advance(deps=deps, session=session, plan=plan, info=info)
    (run_starts.at_once if enters else run_starts.paused)(advance)
    return Created(run_id=run_id, effects=(*files, *advance.waves()))


def _first_events(
    actor: Actor,
    plan: Plan,
    found: Runnable,
    trigger: Trigger,
    variables: dict[str, Any],
    link: Link | None,
    *,
    starts: bool,
) -> tuple[RunEvent, ...]:
    told = {
        "workflow": found.name,
        "version": found.number,
        "nodes": plan.width,
        "variables": variables,
        **({} if link is None else {"caller": {"run_id": link.run_id, "step": link.step}}),
        **({} if trigger.schedule is None else {"schedule": trigger.schedule}),
    }
    events = [RunEvent(type="run.created", data=told, actor=actor.name)]
    if trigger.overrides:
        events.append(RunEvent(type="override.applied", data=trigger.overrides, actor=actor.name))
    return (*events, RunEvent(type="run.started")) if starts else tuple(events)


def _info(new: NewRun, found: Runnable) -> RunInfo:
    return RunInfo(
        id=new.id,
        workspace_id=new.workspace_id,
        workflow=found.name,
        version_id=new.version_id,
        has_budget=new.has_budget,
        priority=new.priority,
        inputs=new.inputs,
        overrides=new.overrides,
        concurrency_key=new.concurrency_key,
        parent_run_id=new.parent_run_id,
        parent_step=new.parent_step,
        parent_attempt=new.parent_attempt,
        detached=new.detached,
        depth=new.depth,
        budget_run_id=new.budget_run_id,
    )


def _budget(plan: Plan, trigger: Trigger) -> dict[str, Any] | None:
    given = trigger.budget or {}
    limit = given.get("limit_cents", plan.budget_cents)
    if limit is None:
        return None
    return {
        "limit_microcents": limit * MICROCENTS,
        "on_exceeded": given.get("on_exceeded", plan.on_exceeded),
    }


def abort(
    deps: Deps,
    actor: Actor,
    run_id: str,
    reason: str,
    once: Once | None = None,
    *,
    compensate: bool = False,
) -> list[Effect]:
    """Abort a run: what has not started is skipped, what runs is given up or, where it is external, let end.

    compensate: then what it has done is undone. Raises NotFoundError, and ConflictError for a run that ended
    otherwise or is undone; a repeated abort is no error.
    """
    guard = once or Once()
    with deps.db.transaction() as session:
        if guard.begin(session) is not None:
            return []
        state, advance = _locked(deps, session, actor, run_id)
        if is_new := not _is_aborted(state, run_id, compensate=compensate):
            by = {"by": actor.name}
            error = {"code": "CANCELLED", "message": reason or "aborted", "step": None, "details": by}
            advance.stop(RunStatus.COMPENSATING if compensate else RunStatus.ABORTED, error)
        effects = advance.waves()
        if is_new:
            audited.run(session, actor, "abort", run_id, state.status, reason, {"compensate": compensate})
        guard.finish(session, {"id": run_id})
        return effects


def _is_aborted(state: RunState, run_id: str, *, compensate: bool) -> bool:
    """Whether an abort was asked for before. Raises ConflictError where this one comes too late."""
    if state.status is RunStatus.COMPENSATING:
        raise ConflictError(f"run {run_id} is compensating, which goes on to its end; wait until it has ended")
    if state.status in RUN_TERMINAL and state.status is not RunStatus.ABORTED:
        raise ConflictError(f"run {run_id} is {state.status} already; only a run that goes on can be aborted")
    if compensate and RunStatus.ABORTED in (state.status, state.stopping):
        raise ConflictError(
            f"run {run_id} was aborted without compensation; POST /api/runs/{run_id}/compensate undoes what it has "
            "done, once it has ended"
        )
    return state.status is RunStatus.ABORTED or state.stopping in (RunStatus.ABORTED, RunStatus.COMPENSATING)


def pause(deps: Deps, actor: Actor, run_id: str, reason: str, once: Once | None = None) -> list[Effect]:
    """Pause a run: nothing more starts, what runs ends. Raises NotFoundError, ConflictError."""
    guard = once or Once()
    with deps.db.transaction() as session:
        if guard.begin(session) is not None:
            return []
        state, advance = _locked(deps, session, actor, run_id)
        if state.status is RunStatus.PAUSED:
            pass
        elif runs.move(session, run_id, RunStatus.PAUSED, "run.paused", {"reason": reason}, actor=actor.name):
            advance.effects.extend(telling.align(session, advance.plan, run_id))
            audited.run(session, actor, "pause", run_id, state.status, reason)
        else:
            raise ConflictError(f"run {run_id} is {state.status}; only a running one can be paused")
        guard.finish(session, {"id": run_id})
        return advance.effects


def resume(
    deps: Deps,
    actor: Actor,
    run_id: str,
    given: dict[str, Any] | None = None,
    budget: dict[str, Any] | None = None,
    once: Once | None = None,
    *,
    reason: str = "",
) -> list[Effect]:
    """Resume a paused run; `given` completes the step that paused it, `budget` {limit_cents} raises its limit.

    Raises NotFoundError, ConflictError (not paused), InvalidError (input that the step's schema refuses).
    """
    guard = once or Once()
    with deps.db.transaction() as session:
        if guard.begin(session) is not None:
            return []
        state, advance = _locked(deps, session, actor, run_id)
        if state.status is not RunStatus.PAUSED:
            raise ConflictError(f"run {run_id} is {state.status}; only a paused one can be resumed")
        _check_caller(session, advance.info)
        if budget is not None:
            runs.raise_budget(session, advance.info.budget_id, budget["limit_cents"] * MICROCENTS)
        _check_budget(session, advance.info)
        effects = pausing.go_on(advance, state, given or {}, actor=actor.name)
        told = {"input": given, "limit_cents": None if budget is None else budget["limit_cents"]}
        audited.run(session, actor, "resume", run_id, state.status, reason, told)
        guard.finish(session, {"id": run_id})
        return effects


def _check_caller(session: Session, info: RunInfo) -> None:
    caller = None if info.detached else info.parent_run_id
    if caller is not None and calls.status(session, caller) == RunStatus.PAUSED:
        raise ConflictError(f"run {info.id} is paused with run {caller}, which called it; resume that one")


def _check_budget(session: Session, info: RunInfo) -> None:
    run_id, budget = info.id, runs.budget(session, info.budget_id) if info.has_budget else None
    if budget is not None and budget.exceeded:
        raise ConflictError(
            f"run {run_id} has spent {budget.spent_microcents / MICROCENTS:g} cents of "
            f"{budget.limit_microcents / MICROCENTS:g}; resume it with budget.limit_cents above what is spent"
        )


def _locked(deps: Deps, session: Session, actor: Actor, run_id: str) -> tuple[RunState, Advance]:
    state = runs.lock(session, run_id, actor.workspace_id) if as_id(run_id) else None
    info = None if state is None else runs.info(session, run_id)
    if state is None or info is None:
        raise NotFoundError(f"there is no run {run_id}; GET /api/runs lists those that there are")
    plan = deps.plans.get(session, info.version_id)
    return state, Advance(deps=deps, session=session, plan=plan, info=info)
