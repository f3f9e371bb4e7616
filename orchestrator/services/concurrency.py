"""Concurrency keys: how many runs of a workflow go on at once under one key, and what happens to the others.

Source: spec "definition", concurrency. What lives is counted under the key's lock at each question; the end of a
run is an effect that lets the next one start, with a sweep behind it. No transaction locks two runs.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from models.base import dump_json
from models.errors import ConflictError, InvalidError, OrchestratorError, Problem
from models.queries import concurrency, lanes, runs
from models.states import RUN_TERMINAL, RunStatus
from orchestrator.core import values
from orchestrator.core.effects import Arrange, Effect
from orchestrator.core.lanes import shortened
from orchestrator.core.plan import Plan
from orchestrator.services import run_starts, telling
from orchestrator.services.advance import Advance
from orchestrator.services.deps import Deps

KEYS = 500


def key_of(
    plan: Plan, workflow_id: str, inputs: Mapping[str, Any], variables: Mapping[str, Any]
) -> str | None:
    """The key of a run that is triggered, of its workflow alone; None where nothing limits it, a null key too.

    Raises InvalidError when the key does not resolve.
    """
    if plan.concurrency is None:
        return None
    try:
        found = values.resolve(plan.concurrency["key"], {"inputs": inputs, "var": variables})
    except OrchestratorError as error:
        problem = Problem(pointer="/inputs", code=error.code, message=str(error))
        raise InvalidError(
            "the workflow's concurrency key has no value; nothing was started", [problem]
        ) from error
    if found is None:
        return None
    text = found if isinstance(found, str) else dump_json(found)
    return f"{workflow_id}/{shortened(text)}"


def may_start(session: Session, plan: Plan, key: str) -> bool:
    """Whether a run that is triggered now starts at once. Raises ConflictError where the key refuses it.

    The key is locked until the end of the transaction; the caller holds no run's lock.
    """
    assert plan.concurrency is not None
    lanes.wait(session, key)
    limit, taken = plan.concurrency["limit"], concurrency.started(session, key)
    if plan.concurrency["on_limit"] == "reject" and taken >= limit:
        raise ConflictError(
            f"{taken} of {limit} runs of this workflow go on under the concurrency key "
            f"{name_of(key)!r}; trigger again when one has ended"
        )
    return bool(taken < limit) and concurrency.next_(session, key) is None


def name_of(key: str) -> str:
    """A key as its workflow resolved it."""
    return key.partition("/")[2]


def arrange(deps: Deps, key: str) -> tuple[Effect, ...]:
    """Abort the runs that newer ones replace, where the workflow says so; start those whose turn it is."""
    effects: list[Effect] = []
    for run_id in _replaced(deps, key):
        given = give_way(deps, run_id, "a newer run of its concurrency key has taken its place")
        effects += [effect for effect in given if not isinstance(effect, Arrange)]
    while (begun := _start_next(deps, key)) is not None:
        effects += begun
    return tuple(effects)


def sweep(deps: Deps) -> tuple[Effect, ...]:
    """Arrange every key for which a run waits."""
    with deps.db.read() as session:
        found = concurrency.keys(session, KEYS)
    return tuple(effect for key in found for effect in arrange(deps, key))


def _replaced(deps: Deps, key: str) -> list[str]:
    with deps.db.read() as session:
        waiting = concurrency.next_(session, key)
        if waiting is None:
            return []
        terms = deps.plans.get(session, waiting.version_id).concurrency
        if terms is None or terms["on_limit"] != "cancel_oldest":
            return []
        return list(concurrency.surplus(session, key, terms["limit"]))


def give_way(deps: Deps, run_id: str, message: str, by: str | None = None) -> list[Effect]:
    """Abort a run for a newer one, unless it ends already: nobody's act. `by`: what started the newer one."""
    with deps.db.transaction() as session:
        state = runs.lock(session, run_id)
        if state is None or state.status in (*RUN_TERMINAL, RunStatus.COMPENSATING) or state.stopping is not None:
            return []
        advance = _advance(deps, session, run_id)
        error = {"code": "CANCELLED", "message": message, "step": None, "details": None if by is None else {"by": by}}
        advance.stop(RunStatus.ABORTED, error)
        return list(advance.effects)


def _start_next(deps: Deps, key: str) -> list[Effect] | None:
    """Start the next run of a key, where there is one and room for it; None when there is not."""
    with deps.db.transaction() as session:
        lanes.wait(session, key)
        waiting = concurrency.next_(session, key)
        if waiting is None:
            return None
        plan = deps.plans.get(session, waiting.version_id)
        limit = 1 if plan.concurrency is None else plan.concurrency["limit"]
        if concurrency.started(session, key) >= limit:
            return None
        state = runs.lock(session, waiting.id)
        if state is None or state.status is not RunStatus.PENDING or state.stopping is not None:
            return []
        runs.set_timeout(session, waiting.id, timeout_at(deps, plan, started=True))
        advance = _advance(deps, session, waiting.id)
        run_starts.waited(advance)
        advance.effects.extend(telling.started(session, advance.info))
        return advance.waves()


def timeout_at(deps: Deps, plan: Plan, *, started: bool) -> datetime | None:
    """Until when a run is waited for: its turn, until it has started; from then on its end."""
    seconds = plan.timeout if started else plan.queue_timeout
    return None if seconds is None else datetime.fromtimestamp(deps.clock.now() + seconds, UTC)


def _advance(deps: Deps, session: Session, run_id: str) -> Advance:
    info = runs.info(session, run_id)
    assert info is not None, f"run {run_id} is locked, and not there"
    return Advance(deps=deps, session=session, plan=deps.plans.get(session, info.version_id), info=info)
