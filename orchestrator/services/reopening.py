"""Letting a run that has ended go on, by an act of an operator (spec "engine", States).

A reopened run counts for its concurrency key and draws on its budget as any that goes on; where either has no room
it stays ended. One that another run waits for is that run's to start again.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from models.errors import ConflictError, NotFoundError
from models.queries import concurrency, lanes, resets, runs
from models.queries.dialect import as_id
from models.queries.runs import RunState
from models.states import RUN_TERMINAL, RunStatus
from orchestrator.services.actors import Actor
from orchestrator.services.advance import Advance
from orchestrator.services.concurrency import name_of
from orchestrator.services.deps import Deps

MICROCENTS = 1_000_000


def lock(deps: Deps, session: Session, actor: Actor, run_id: str) -> tuple[RunState, Advance]:
    """Lock a run, behind its concurrency key where it has one. Raises NotFoundError."""
    info = runs.info(session, run_id) if as_id(run_id) else None
    if info is not None and info.workspace_id == actor.workspace_id and info.concurrency_key is not None:
        lanes.wait(session, info.concurrency_key)
    state = runs.lock(session, run_id, actor.workspace_id) if info is not None else None
    left = info is not None and info.has_budget and runs.budget(session, info.budget_id) is None
    if state is None or info is None or left:  # left: with the run whose budget it drew on
        raise NotFoundError(f"there is no run {run_id}; GET /api/runs lists those that there are")
    plan = deps.plans.get(session, info.version_id)
    return state, Advance(deps=deps, session=session, plan=plan, info=info)


def check_may_act(state: RunState, run_id: str) -> None:
    """Raises ConflictError where an operator's act on a step has to wait."""
    if state.status is RunStatus.PENDING:
        raise ConflictError(f"run {run_id} has not started: it waits for its turn; abort it, or wait")
    if state.status is RunStatus.COMPENSATING:
        raise ConflictError(f"run {run_id} is compensating; wait until it has ended")
    if state.stopping is not None and state.status not in RUN_TERMINAL:
        raise ConflictError(f"run {run_id} is being stopped ({state.stopping}); wait until it has ended")


def reopen(
    advance: Advance, state: RunState, told: dict[str, Any], actor: str, limit_cents: int | None
) -> None:
    """Let an ended run go on; its timeout begins anew. The caller resets steps, or it would end at once.

    Raises ConflictError: it was called by a run that waits for it no more, its concurrency key has no room, or
    its budget is overspent.
    """
    session, info, run_id = advance.session, advance.info, advance.info.id
    if info.parent_run_id is not None and not info.detached:
        raise ConflictError(
            f"run {run_id} is {state.status}, and run {info.parent_run_id}, which called it, has its outcome; "
            f"retry or rerun step {info.parent_step} of that one, which calls anew"
        )
    _check_room(advance, state)
    if limit_cents is not None and info.has_budget:
        runs.raise_budget(session, info.budget_id, limit_cents * MICROCENTS)
    _check_budget(advance, state)
    if not runs.move(
        session, run_id, RunStatus.RUNNING, "run.reopened", told | {"was": state.status}, actor=actor
    ):
        raise ConflictError(f"run {run_id} is {state.status}; it cannot go on")
    timeout = advance.plan.timeout
    at = None if timeout is None else datetime.fromtimestamp(advance.deps.clock.now() + timeout, UTC)
    resets.reopen(session, run_id, at)


def _check_room(advance: Advance, state: RunState) -> None:
    key, terms = advance.info.concurrency_key, advance.plan.concurrency
    if key is None or terms is None:
        return
    taken = concurrency.started(advance.session, key)
    if taken >= terms["limit"]:
        raise ConflictError(
            f"run {advance.info.id} is {state.status}, and {taken} of {terms['limit']} runs of its workflow go on "
            f"under the concurrency key {name_of(key)!r}; try again when one of them has ended"
        )


def _check_budget(advance: Advance, state: RunState) -> None:
    info = advance.info
    budget = runs.budget(advance.session, info.budget_id) if info.has_budget else None
    if budget is not None and budget.exceeded:
        raise ConflictError(
            f"run {info.id} is {state.status} and has spent {budget.spent_microcents / MICROCENTS:g} cents of "
            f"{budget.limit_microcents / MICROCENTS:g}; give budget.limit_cents above what is spent"
        )
