"""One act on all runs that fit a filter: each in a transaction of its own, and each with an answer of its own.

A repeat under the same `Idempotency-Key` goes on where the first call broke off: each run's act is kept under a key
made of it and the run's id, the whole answer under the key itself.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from models.errors import ConflictError, InvalidError, NotFoundError, OrchestratorError
from models.queries import compensations, resets, run_views
from models.queries.run_views import RunFilter
from models.states import RUN_TERMINAL, StepStatus
from orchestrator.core.effects import Effect
from orchestrator.services import audited, compensating, paging, reopening, rewinding, runs
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.paging import PageRequest
from orchestrator.services.rewinding import Act

Done = tuple[dict[str, Any], Sequence[Effect]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """What is to be done, to which runs, and why. action: abort, retry, pause or resume."""

    action: str
    wanted: RunFilter
    reason: str
    page: PageRequest


def carry_out(
    deps: Deps, actor: Actor, bulk: Bulk, once: Once, send: Callable[[Sequence[Effect]], None]
) -> dict[str, Any]:
    """`{items: [{id, status, done, error: {code, message} | null}], next_cursor}`; `done`: something was changed.

    What follows from each run's act is sent before the next one's. A run that refuses holds up no other.
    """
    with deps.db.read() as session:
        if (earlier := once.earlier(session)) is not None:
            return earlier
    scope = ["bulk", actor.workspace_id, {k: str(v) for k, v in asdict(bulk.wanted).items() if v}]
    before, limit = bulk.page.after(scope), bulk.page.limit
    with deps.db.read() as session:
        rows = run_views.page(session, actor.workspace_id, bulk.wanted, before=before, limit=limit + 1)
        found = paging.page(rows, bulk.page, scope, place=lambda row: row[0].id, show=lambda row: {"id": row[0].id})
    items = []
    for run in found["items"]:
        item, effects = _one(deps, actor, bulk, run["id"], _own(once, run["id"]))
        send(effects)
        items.append(item)
    answer = {"items": items, "next_cursor": found["next_cursor"]}
    with deps.db.transaction() as session:
        if (earlier := once.begin(session)) is not None:
            return earlier
        once.finish(session, answer)
    return answer


def _own(once: Once, run_id: str) -> Once:
    """The guard of one run's act."""
    if once.key is None:
        return Once()
    key = hashlib.sha256(f"{once.key}\n{run_id}".encode()).hexdigest()
    return replace(once, key=f"bulk:{key}", show=None)


def _one(deps: Deps, actor: Actor, bulk: Bulk, run_id: str, once: Once) -> Done:
    error, effects = None, list[Effect]()
    try:
        effects += _ACTIONS[bulk.action](deps, actor, run_id, bulk.reason, once)
    except (ConflictError, InvalidError, NotFoundError) as refused:
        error = _shown(refused)
    with deps.db.read() as session:
        head = run_views.head(session, actor.workspace_id, run_id)
    status = None if head is None else head.status
    return {"id": run_id, "status": status, "done": error is None, "error": error}, effects


def _shown(error: OrchestratorError) -> dict[str, str]:
    return {"code": error.code, "message": str(error)}


def retry_run(
    deps: Deps, actor: Actor, run_id: str, reason: str, once: Once | None = None
) -> Sequence[Effect]:
    """Try all steps of a run again that failed with no edge to take it, or the one that could not be undone.

    Raises NotFoundError, ConflictError.
    """
    guard = once or Once()
    with deps.db.transaction() as session:
        if guard.begin(session) is not None:
            return ()
        state, advance = reopening.lock(deps, session, actor, run_id)
        reopening.check_may_act(state, run_id)
        act = Act(name="retry", reason=reason, actor=actor.name)
        if compensations.failed(session, run_id) is not None:
            told = act.told | {"was": state.status}
            compensating.begin(advance, told, actor=actor.name, again=True)
            effects = advance.waves()
            audited.run(session, actor, "retry", run_id, state.status, reason)
            guard.finish(session, {"id": run_id})
            return effects
        plan = advance.plan
        rows = resets.rows(session, run_id, 0, plan.width)
        failed = [
            row.no for row in rows if row.status == StepStatus.FAILED and not plan.at(row.no).error_port
        ]
        if not failed:
            raise ConflictError(
                f"run {run_id} is {state.status}, and none of its steps has failed for good; rerun a step of it"
            )
        if state.status in RUN_TERMINAL:
            reopening.reopen(advance, state, act.told, act.actor, None)
        scope = rewinding.scope_of(plan, failed[0])
        rewinding.let_go(advance, scope, rewinding.take_back(advance, scope, act, again=failed))
        effects = advance.waves()
        audited.run(session, actor, "retry", run_id, state.status, reason)
        guard.finish(session, {"id": run_id})
        return effects


def _resume(deps: Deps, actor: Actor, run_id: str, reason: str, once: Once) -> Sequence[Effect]:
    return runs.resume(deps, actor, run_id, once=once, reason=reason)


_ACTIONS: dict[str, Callable[[Deps, Actor, str, str, Once], Sequence[Effect]]] = {
    "abort": runs.abort,
    "pause": runs.pause,
    "resume": _resume,
    "retry": retry_run,
}
