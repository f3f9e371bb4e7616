"""A step that called a run is undone by that run: its compensation asks, waits, and ends as the run does.

The entry of the outbox stands for the question: while it is there, how the called run stands is no answer yet.
Source: spec "engine", Compensation; no transaction locks two runs.
"""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from models.errors import ErrorCode
from models.queries import calls, outbox, runs, steps
from models.queries.outbox import Entry
from models.queries.steps import Hot
from models.run import Run
from models.states import RUN_TERMINAL, RunStatus, StepStatus
from orchestrator.core.compensations import SUFFIX
from orchestrator.core.effects import Effect
from orchestrator.core.outcome import Failed, StepError, Succeeded, Usage
from orchestrator.services import compensating, compensation_failures, telling, waking
from orchestrator.services.advance import Advance
from orchestrator.services.deps import Deps

_FREE = Usage(cost_microcents=0)  # what the called run pays for its undoing counts for the attempt that called it


def ask(deps: Deps, entry: Entry) -> Sequence[Effect]:
    """Have the called run undo itself, or tell the compensation at once that nothing is left to be undone."""
    with deps.db.transaction() as session:
        (own,) = steps.hot(session, entry.run_id, [entry.no])
        run_id = _called(session, entry.run_id, own)
        state, info = runs.lock(session, run_id), runs.info(session, run_id)
        assert state is not None
        assert info is not None
        if outbox.get(session, entry.id) is None:
            return ()
        advance = Advance(
            deps=deps, session=session, plan=deps.plans.get(session, info.version_id), info=info
        )
        waits = own.status == StepStatus.WAITING and own.attempt == entry.attempt
        if not waits or state.status is RunStatus.COMPENSATING or _begins(advance, entry, own):
            outbox.done(session, entry.id)
            return advance.waves()
        outcome = _outcome(deps, session, run_id)
    effects = waking.settle(deps, entry.run_id, entry.no, entry.attempt, outcome)
    with deps.db.transaction() as session:
        outbox.done(session, entry.id)
    return effects


def _begins(advance: Advance, entry: Entry, own: Hot) -> bool:
    told = {"reason": "the run that called it is undone", "caller": {"run_id": entry.run_id, "step": own.path}}
    return compensating.begin(advance, told, again=True)


def _called(session: Session, run_id: str, own: Hot) -> str:
    """The run that was called by the attempt that is undone."""
    found = calls.called(session, run_id, own.path.removesuffix(SUFFIX), int(own.live_in or 0))
    assert found is not None, f"{own.path} undoes a run that is not there"
    return found


def answer(deps: Deps, run: Run) -> Sequence[Effect]:
    """The called run has ended: the compensation that has asked for it does, too."""
    if run.parent_run_id is None or run.parent_step is None or run.detached:
        return ()
    with deps.db.read() as session:
        own = _waiting(session, run.parent_run_id, run.parent_step + SUFFIX)
        if own is None or outbox.of_attempt(session, telling.UNDO, run.parent_run_id, own.no, own.attempt):
            return ()
        if calls.status(session, run.id) not in RUN_TERMINAL:
            return ()
        outcome = _outcome(deps, session, run.id)
    return waking.settle(deps, run.parent_run_id, own.no, own.attempt, outcome)


def _waiting(session: Session, run_id: str, path: str) -> Hot | None:
    no = calls.number_of(session, run_id, path)
    rows = [] if no is None else steps.hot(session, run_id, [no])
    return rows[0] if rows and rows[0].status == StepStatus.WAITING else None


def _outcome(deps: Deps, session: Session, run_id: str) -> Succeeded | Failed:
    status, version_id = calls.standing(session, run_id)
    plan = deps.plans.get(session, version_id)
    failure = compensation_failures.found(session, plan, run_id)
    if status != RunStatus.FAILED or failure is None:
        return Succeeded(output={"run_id": run_id}, usage=_FREE)
    code = str(failure["code"])
    known = ErrorCode(code) if code in ErrorCode.__members__ else ErrorCode.INTERNAL
    message = f"run {run_id} could not be undone: step {failure['step']}: {failure['message']}"
    details = {"run_id": run_id, "step": failure["step"]}
    return Failed(error=StepError.of(known, message, details=details, transient=False), usage=_FREE)
