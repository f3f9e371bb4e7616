"""What happens when a run's budget is spent (spec "engine", Budget)."""

from collections.abc import Sequence

from models.queries import runs, steps
from models.states import RunStatus
from orchestrator.core.effects import Effect
from orchestrator.services import telling
from orchestrator.services.advance import Advance
from orchestrator.services.deps import Deps


def exceed(advance: Advance, on_exceeded: str) -> None:
    """The budget is spent: nothing more starts; the run is aborted, or paused, as its definition says.

    A run that is paused, being stopped or over already is left as it is; one with nothing left to hold back
    is not paused.
    """
    run_id = advance.info.id
    state = runs.lock(advance.session, run_id)
    if state is None or state.status is not RunStatus.RUNNING or state.stopping is not None:
        return
    runs.note(advance.session, run_id, "run.budget_exceeded", {"on_exceeded": on_exceeded})
    advance.effects.extend(telling.spent(advance.session, advance.info))
    if on_exceeded == "pause" and advance.open_steps == 0:
        return
    if on_exceeded == "pause":
        told = {"reason": "the budget is spent", "with_caller": advance.info.budget_id != run_id}
        runs.move(advance.session, run_id, RunStatus.PAUSED, "run.paused", told)
        advance.effects.extend(telling.align(advance.session, advance.plan, run_id))
        advance.queued.clear()
        steps.unsend_all(advance.session, run_id)
        return
    error = {
        "code": "BUDGET_EXCEEDED",
        "message": "the budget is spent; raise budget.limit_cents",
        "step": None,
        "details": None,
    }
    advance.stop(RunStatus.ABORTED, error, spare_running=True)


def refused(deps: Deps, run_id: str) -> Sequence[Effect]:
    """A reservation was refused: stop or pause the run, once."""
    with deps.db.transaction() as session:
        runs.lock(session, run_id)
        info = runs.info(session, run_id)
        budget = None if info is None else runs.budget(session, info.budget_id)
        if info is None or budget is None:
            return ()
        plan = deps.plans.get(session, info.version_id)
        advance = Advance(deps=deps, session=session, plan=plan, info=info)
        exceed(advance, budget.on_exceeded)
        return tuple(advance.waves())
