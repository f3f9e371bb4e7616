"""Abort, pause and resume go down: a run brings those that it calls in line, each in its own transaction.

What comes down names no state: it is read when the called run's row is locked, so that a late or doubled entry
does what holds now (spec "engine": no transaction locks two runs).
"""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from models.errors import ErrorCode
from models.queries import calls, outbox, steps
from models.queries import runs as queries
from models.queries.outbox import Entry
from models.queries.runs import RunInfo, RunState
from models.states import RUN_TERMINAL, RunStatus
from orchestrator.core.effects import Effect
from orchestrator.services import calling, compensating, pausing, telling
from orchestrator.services.advance import Advance
from orchestrator.services.deps import Deps

BATCH = 500
_FIRST = "00000000-0000-0000-0000-000000000000"


def recall(deps: Deps, entry: Entry) -> Sequence[Effect]:
    """Abort the run that an attempt has called, which nobody waits for any more."""
    effects: list[Effect] = []
    with deps.db.read() as session:
        pending = outbox.of_attempt(session, telling.CALL, entry.run_id, entry.no, entry.attempt)
    if pending is not None:  # it is being created, or will see that it is not to be
        effects += calling.begin(deps, pending)
    with deps.db.transaction() as session:
        if outbox.take(session, entry.id):
            effects += _abort(deps, session, entry)
    return effects


def _abort(deps: Deps, session: Session, entry: Entry) -> Sequence[Effect]:
    path = calls.path(session, entry.run_id, entry.no)
    run_id = calls.called(session, entry.run_id, path, entry.attempt)
    if run_id is None:
        return ()
    state, info = _locked(session, run_id)
    if info.detached:
        return ()
    if state.status is RunStatus.SUCCESS and entry.data.get("compensate"):
        return _undo(_advance(deps, session, info), entry, path)
    if state.status in (*RUN_TERMINAL, RunStatus.COMPENSATING) or state.stopping is not None:
        return ()
    error = {
        "code": ErrorCode.CANCELLED.value,
        "message": f"step {path} of run {entry.run_id} waits for it no more",
        "step": None,
        "details": None,
    }
    advance = _advance(deps, session, info)
    status = RunStatus.COMPENSATING if entry.data.get("compensate") else RunStatus.ABORTED
    advance.stop(status, error, spare_running=entry.data["spare_running"])
    return advance.waves()


def _undo(advance: Advance, entry: Entry, path: str) -> Sequence[Effect]:
    """It has ended before the recall came, and nobody has taken its outcome over."""
    told = {"reason": "the step that called it was given up", "caller": {"run_id": entry.run_id, "step": path}}
    compensating.begin(advance, told)
    return advance.waves()


def align(deps: Deps, entry: Entry) -> Sequence[Effect]:
    """Pause the runs that a paused run waits for; resume, when it goes on, those that were paused with it."""
    effects: list[Effect] = []
    with deps.db.transaction() as session:
        outbox.await_taken(session, telling.CALL, entry.run_id)
    after = _FIRST
    while True:
        with deps.db.read() as session:
            batch = calls.attached(session, entry.run_id, after, BATCH)
        for run_id in batch:
            effects += _align(deps, entry.run_id, run_id)
        if not batch:
            break
        after = batch[-1]
    with deps.db.transaction() as session:
        outbox.done(session, entry.id)
    return effects


def _align(deps: Deps, caller_id: str, run_id: str) -> Sequence[Effect]:
    with deps.db.transaction() as session:
        state, info = _locked(session, run_id)
        if state.stopping is not None:
            return ()
        advance = _advance(deps, session, info)
        match calls.status(session, caller_id), state.status:
            case RunStatus.PAUSED, RunStatus.RUNNING:
                return pausing.with_caller(advance)
            case RunStatus.RUNNING, RunStatus.PAUSED if _paused_with_caller(session, run_id):
                return pausing.go_on(advance, state, {})
        return ()


def _paused_with_caller(session: Session, run_id: str) -> bool:
    """Whether nobody has paused it for itself: no person, and no step that waits for input."""
    told = calls.pause_data(session, run_id)
    return bool(told.get("with_caller")) and not steps.paused(session, run_id)


def _locked(session: Session, run_id: str) -> tuple[RunState, RunInfo]:
    state, info = queries.lock(session, run_id), queries.info(session, run_id)
    assert state is not None
    assert info is not None
    return state, info


def _advance(deps: Deps, session: Session, info: RunInfo) -> Advance:
    plan = deps.plans.get(session, info.version_id)
    return Advance(deps=deps, session=session, plan=plan, info=info)
