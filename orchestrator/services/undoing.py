"""Undoing a run by hand: one that has ended, and a step that could not be undone once more.

Source: spec "http-api", POST …/compensate; spec "engine", Compensation.
"""

from models.errors import ConflictError
from models.queries import compensations
from models.queries.runs import RunState
from models.states import RUN_TERMINAL, RunStatus
from orchestrator.core.effects import Effect
from orchestrator.services import audited, compensating, reopening
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.reaching import Reached
from orchestrator.services.rewinding import Act


def compensate(deps: Deps, actor: Actor, run_id: str, reason: str, once: Once | None = None) -> list[Effect]:
    """Undo what an ended run has done; what could not be undone before is tried again.

    Raises NotFoundError, ConflictError (it has not ended, or nothing is left to be undone).
    """
    guard = once or Once()
    with deps.db.transaction() as session:
        if guard.begin(session) is not None:
            return []
        state, advance = reopening.lock(deps, session, actor, run_id)
        _check_ended(state, run_id)
        told = {"reason": reason, "was": state.status}
        if not compensating.begin(advance, told, actor=actor.name, again=True):
            raise ConflictError(
                f"run {run_id} is {state.status}, and nothing is left to be undone: no step with a compensation "
                "has succeeded and is not undone"
            )
        effects = advance.waves()
        audited.run(session, actor, "compensate", run_id, state.status, reason)
        guard.finish(session, {"id": run_id})
        return effects


def _check_ended(state: RunState, run_id: str) -> None:
    if state.status is RunStatus.COMPENSATING:
        raise ConflictError(f"run {run_id} is compensating already; wait until it has ended")
    if state.status not in RUN_TERMINAL:
        raise ConflictError(
            f"run {run_id} is {state.status}; only one that has ended can be compensated: abort it with "
            "compensate: true, or wait"
        )


def retry(reached: Reached, act: Act) -> bool:
    """Undo a step once more whose compensation has failed, and go on; False where that is not so of this one."""
    advance = reached.advance
    if not is_stuck(reached):
        return False
    told = act.told | {"step": reached.row.path, "was": reached.state.status}
    return compensating.begin(advance, told, actor=act.actor, again=True)


def is_stuck(reached: Reached) -> bool:
    """Whether a step could not be undone, or is the compensation of such a one."""
    if reached.state.status is not RunStatus.FAILED:
        return False
    stuck = compensations.failed(reached.advance.session, reached.advance.info.id)
    return stuck is not None and stuck.no in (reached.row.no, reached.node.undoes)


def check_is_done(reached: Reached, what: str) -> None:
    """Raises ConflictError where a step is a compensation, or one that could not be undone."""
    path = reached.row.path
    if reached.node.undoes is not None:
        raise ConflictError(
            f"step {path} is a compensation, which can't be {what}; retry it where it has failed, or rerun the step "
            "that it undoes"
        )
    if what != "run again" and is_stuck(reached):
        raise ConflictError(f"step {path} could not be undone; retry that, or rerun the step")
