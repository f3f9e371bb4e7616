"""The sweep of what has outrun its time: attempts, steps with all their attempts, silent handlers, runs.

The timeout of an attempt and a heartbeat are real time; deadlines of steps and runs follow the virtual clock.
"""

from sqlalchemy.orm import Session

from models.base import dump_json
from models.errors import ErrorCode
from models.moves import AttemptChange, AttemptResult, Move
from models.queries import deadlines as deadline_rows
from models.queries import runs, stamps, steps, sweeps
from models.queries.sweeps import DueStep
from models.states import RunStatus, StepStatus
from orchestrator.core import decide
from orchestrator.core.effects import Effect
from orchestrator.core.outcome import StepError
from orchestrator.services import contact, container_ends, deadlines, stopping
from orchestrator.services.advance import Advance
from orchestrator.services.deps import Deps
from orchestrator.services.failing import advance_of, fail
from orchestrator.services.swept import BATCH, Swept, each

_WHY = {
    RunStatus.RUNNING: "the run has outrun its timeout",
    RunStatus.PENDING: "the run has waited for its turn under its concurrency key longer than its queue_timeout",
}
_UNBEGUN = (StepStatus.QUEUED, StepStatus.RETRYING)


def timeouts(deps: Deps) -> Swept:
    """Fail attempts, parked ones too, steps and runs that have outrun their time, and handlers that are silent."""
    now = deps.clock.now()
    with deps.db.read() as session:
        late = deadline_rows.passed(session, now, BATCH)
        found = sweeps.timed_out(session, BATCH)
        silent = _silent(deps, session)
        outrun = sweeps.timed_out_runs(session, now, BATCH)
    effects = (
        *each(deps, late, _end),
        *each(deps, found, _time_out),
        *each(deps, silent, _give_up),
        *each(deps, outrun, _time_out_run),
    )
    return Swept(effects=effects, found=max(len(late), len(found), len(silent), len(outrun)))


def _silent(deps: Deps, session: Session) -> list[DueStep]:
    """Beats that could not be written while the database was away count for nothing."""
    found = deadline_rows.silent(session, BATCH)
    if found and contact.lasts(deps, sweeps.clock(session), stamps.last(session, contact.STAMPS)):
        return found
    return []


def _give_up(deps: Deps, step: DueStep) -> tuple[Effect, ...]:
    with deps.db.transaction() as session:
        runs.lock(session, step.run_id)
        if not deadline_rows.is_silent(session, step.run_id, step.no):
            return ()
        seconds = advance_of(deps, session, step.run_id).plan.at(step.no).heartbeat
        return fail(deps, session, step, StepError.of(ErrorCode.TIMEOUT, f"no heartbeat for {seconds:g} s"))


def _end(deps: Deps, step: DueStep) -> tuple[Effect, ...]:
    """A step is at its deadline, wherever it stands; nothing is left to try it again in."""
    with deps.db.transaction() as session:
        runs.lock(session, step.run_id)
        advance = advance_of(deps, session, step.run_id)
        node = advance.plan.at(step.no)
        at = deadline_rows.of(session, step.run_id, step.no)
        if at is None or at > deps.clock.now():
            return ()  # the run was paused and resumed, or the step taken back meanwhile
        (now,) = steps.hot(session, step.run_id, [step.no])
        if now.status != step.status or now.attempt != step.attempt:
            return ()
        error = deadlines.error(node)
        if step.status in _UNBEGUN:
            _end_unbegun(advance, step, error)
            return (*advance.waves(), *stopping.end_all_work(session, advance.plan, step.run_id, [now]))
        if node.body is not None:
            container_ends.end(advance, step.no, step.attempt, error)
            return tuple(advance.waves())
        return fail(deps, session, step, error, final=True)


def _end_unbegun(advance: Advance, step: DueStep, error: StepError) -> None:
    """A step fails while none of its attempts is under way; the failure is an attempt of its own."""
    node = advance.plan.at(step.no)
    digits = decide.edges_on_failure(node)
    move = Move(
        no=step.no,
        fence=step.attempt,
        sources=(StepStatus(step.status),),
        to=StepStatus.FAILED,
        event="step.failed",
        more={"error": error.to_json(), "edges": digits},
        bump=1,
        tries=1,
        out_edges=digits,
        change=AttemptChange.WHOLE,
        result=AttemptResult(status="failed", error=dump_json(error.to_json())),
    )
    advance.fail(node, move, decide.decisions(advance.plan, node, digits, off_chord=True), error)


def _time_out(deps: Deps, step: DueStep) -> tuple[Effect, ...]:
    with deps.db.transaction() as session:
        runs.lock(session, step.run_id)
        advance = advance_of(deps, session, step.run_id)
        if advance.plan.at(step.no).body is not None:
            container_ends.time_out(advance, step.no, step.attempt)
            return tuple(advance.waves())
        return fail(deps, session, step, _outran(session, step))


def _outran(session: Session, step: DueStep) -> StepError:
    """What an attempt fails with whose time is over: what it waited for, where that begins with an error's code."""
    reason = None
    if step.status == StepStatus.WAITING:
        reason = steps.reason_of(session, step.run_id, step.no)
    code, _, why = (reason or "").partition(": ")
    if code not in ErrorCode.__members__:
        waited = "" if reason is None else f"; it waited for {reason}"
        return StepError.of(ErrorCode.TIMEOUT, f"the attempt has outrun its timeout{waited}")
    began = steps.claimed_at(session, step.run_id, step.no, step.attempt)
    seconds = 0.0 if began is None else sweeps.clock(session) - began.timestamp()
    return StepError.of(ErrorCode(code), f"{why}; the attempt's time was over after {seconds:.1f} s")


def _time_out_run(deps: Deps, run_id: str) -> tuple[Effect, ...]:
    with deps.db.transaction() as session:
        state = runs.lock(session, run_id)
        if state is None or state.status not in _WHY or state.stopping is not None:
            return ()
        if state.timeout_at is None or state.timeout_at.timestamp() > deps.clock.now():
            return ()  # it was paused and resumed meanwhile
        advance = advance_of(deps, session, run_id)
        error = {
            "code": ErrorCode.TIMEOUT.value,
            "message": _WHY[state.status],
            "step": None,
            "details": None,
        }
        advance.stop(RunStatus.FAILED, error)
        return tuple(advance.waves())
