"""The end of a called run comes up: its outcome completes the step that called it, its cost is counted there."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from models.errors import ErrorCode
from models.queries import calls, outbox, runs, steps
from models.queries.outbox import Entry
from models.run import Run, RunData
from models.states import RUN_TERMINAL, RunStatus
from orchestrator.core.effects import Effect
from orchestrator.core.outcome import Failed, StepError, Succeeded, Usage
from orchestrator.services import budgets, run_views, telling, undoing_called, waking
from orchestrator.services.crash import crash_point
from orchestrator.services.deps import Deps


def answer(deps: Deps, entry: Entry) -> Sequence[Effect]:
    """Complete the step that waits for this run, if it still does; bring up what the run has cost."""
    with deps.db.read() as session:
        run = session.get_one(Run, entry.run_id)
        assert run.parent_run_id is not None
        assert run.parent_step is not None
        assert run.parent_attempt is not None
        no = calls.number(session, run.parent_run_id, run.parent_step)
        outcome = _outcome(session, deps, run)
    effects: list[Effect] = []
    if _overspent(run):
        effects += budgets.refused(deps, run.parent_run_id)
    effects += waking.settle(deps, run.parent_run_id, no, run.parent_attempt, outcome)
    effects += undoing_called.answer(deps, run)
    crash_point("answered")
    with deps.db.transaction() as session:
        outbox.done(session, entry.id)
        if not run.detached:
            effects += _bring_up(session, run.parent_run_id, no, run.parent_attempt, run.id)
    return effects


def _overspent(run: Run) -> bool:
    """Whether it ended for want of money that its caller has not either."""
    shared = run.status == RunStatus.ABORTED and run.budget_run_id not in (None, run.id)
    return shared and run.error is not None and run.error["code"] == ErrorCode.BUDGET_EXCEEDED


def _outcome(session: Session, deps: Deps, run: Run) -> Succeeded | Failed:
    if run.detached:
        return Succeeded(output={"run_id": run.id}, usage=Usage(cost_microcents=0))
    usage = Usage(cost_microcents=run.cost_microcents)
    if run.status == RunStatus.SUCCESS:
        outputs = run_views.outputs(session, deps, run, session.get_one(RunData, run.id))
        return Succeeded(output=outputs, usage=usage)
    return Failed(error=_error(run), usage=usage)


def _error(run: Run) -> StepError:
    """Why the called run did not succeed. One that was aborted is not called again."""
    error = run.error or {}
    code = str(error.get("code"))
    known = ErrorCode(code) if code in ErrorCode.__members__ else ErrorCode.INTERNAL
    if run.status == RunStatus.ABORTED and known is not ErrorCode.BUDGET_EXCEEDED:
        known = ErrorCode.CANCELLED
    details = {"run_id": run.id, "step": error.get("step"), "details": error.get("details")}
    message = f"run {run.id} {run.status}: {error.get('message', 'it gave no reason')}"
    return StepError.of(known, message, details=details)


def _bring_up(session: Session, run_id: str, no: int, attempt: int, called: str) -> Sequence[Effect]:
    """Let the calling attempt have cost what the called run has, also what that has paid since its end."""
    state = runs.lock(session, run_id)
    info = runs.info(session, run_id)
    assert state is not None
    assert info is not None
    extra = calls.cost(session, called) - steps.attempt_cost(session, run_id, no, attempt)
    if extra == 0:
        return ()
    steps.add_attempt_cost(session, run_id, no, attempt, extra)
    runs.add_cost(session, run_id, extra)
    return telling.ended(session, info) if state.status in RUN_TERMINAL else ()
