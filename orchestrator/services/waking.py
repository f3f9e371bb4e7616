"""Completing a step that waits, from outside: a timer that is due, the input of a resume, an answer."""

from dataclasses import replace
from typing import Any

import structlog

from models.base import dump_json
from models.database import OUTAGES
from models.errors import OrchestratorError
from models.moves import AttemptChange, AttemptResult, Move, Transition
from models.queries import runs, steps
from models.states import OPEN, StepStatus
from orchestrator.core import decide
from orchestrator.core.effects import Effect
from orchestrator.core.outcome import Failed, Succeeded
from orchestrator.services import asking, claiming, data, inline, performing, unserved
from orchestrator.services.advance import Advance
from orchestrator.services.claiming import Claimed
from orchestrator.services.completing import Completion
from orchestrator.services.deps import Deps
from orchestrator.services.ends import End, Send
from orchestrator.services.performing import Performed

_log = structlog.get_logger(__name__)
_PARKED_OR_GIVEN_UP = (StepStatus.WAITING, StepStatus.FAILED, StepStatus.RETRYING)


def settle(deps: Deps, run_id: str, no: int, attempt: int, outcome: Succeeded | Failed) -> tuple[Effect, ...]:
    """End a parked attempt by what came for it from outside, exactly as if its handler had said it.

    Checks, secrets, output limits, edges, retries, error port and costs are those of any outcome. An attempt that
    is not parked yet, or has ended, is not moved; one that was given up records what came late. Returns what is
    to be sent. Raises OUTAGES, what the database raises: the caller comes again.
    """
    claimed = _parked(deps, run_id, no, attempt)
    if claimed is None:
        return ()
    try:
        return _write(deps, claimed, performing.taken(deps, claimed, outcome))
    except OUTAGES:
        raise
    except Exception as error:
        _log.exception("answer not stored", run=run_id, step=claimed.path)
        return _write(deps, claimed, performing.failed_to_store(claimed, error))


def hear(deps: Deps, send: Send, end: End) -> bool:
    """Settle an end that this process saw, and send what follows; False where its step is not parked yet."""
    if comes_early(deps, end.run_id, end.no, end.attempt):
        return False
    send(settle(deps, end.run_id, end.no, end.attempt, end.outcome))
    return True


def comes_early(deps: Deps, run_id: str, no: int, attempt: int) -> bool:
    """Whether an attempt still runs, and is to be parked: what comes for it now is to come again."""
    with deps.db.read() as session:
        rows = steps.hot(session, run_id, [no])
    return bool(rows) and rows[0].attempt == attempt and rows[0].status == StepStatus.RUNNING


def _parked(deps: Deps, run_id: str, no: int, attempt: int) -> Claimed | None:
    """The attempt as its worker held it; None where there is nothing to end."""
    with deps.db.read() as session:
        info = runs.info(session, run_id)
        rows = [] if info is None else steps.hot(session, run_id, [no])
        if info is None or not rows or rows[0].attempt < attempt:
            return None
        if rows[0].attempt == attempt and rows[0].status not in _PARKED_OR_GIVEN_UP:
            return None
        return claiming.as_held(deps, session, info, replace(rows[0], attempt=attempt))


def _write(deps: Deps, claimed: Claimed, done: Performed) -> tuple[Effect, ...]:
    completion = Completion(deps=deps, claimed=claimed, source=StepStatus.WAITING)
    with deps.db.transaction() as session:
        effects, _ = completion.write(session, done)
    return (*effects, *unserved.after_end(deps, claimed))


def complete(advance: Advance, no: int, attempt: int, output: Any) -> bool:
    """Complete waiting step `no` with `output`, in the advance's transaction; False on a lost race."""
    node = advance.plan.at(no)
    names = data.names(advance.session, advance.plan, advance.info, no=no)
    names.know(
        no, steps.Stored(no=no, status=StepStatus.SUCCESS, attempt=attempt, out_edges=None, output=output)
    )
    try:
        holds = inline.edge_values(node, names)
    except OrchestratorError as error:
        return _fail(advance, no, attempt, error)
    digits = decide.edges_on_success(node, route=None, terminal=False, holds=holds)
    move = Move(
        no=no,
        fence=attempt,
        sources=(StepStatus.WAITING,),
        to=StepStatus.SUCCESS,
        event="step.completed",
        more={"edges": digits},
        tries=1,
        losses=0,
        out_edges=digits,
        change=AttemptChange.END,
        result=AttemptResult(status="success", output=dump_json(output)),
    )
    began = advance.start(
        Transition(
            run_id=advance.info.id,
            moves=(move,),
            decisions=decide.decisions(advance.plan, node, digits),
            while_=OPEN,
        )
    )
    return began and _release(advance, no, attempt)


def _fail(advance: Advance, no: int, attempt: int, error: OrchestratorError) -> bool:
    node = advance.plan.at(no)
    failed = inline.failed(advance.plan, node, attempt, asking.step_error(error))
    move = replace(failed.move, sources=(StepStatus.WAITING,), bump=0, change=AttemptChange.END)
    assert failed.error is not None
    return advance.fail(node, move, failed.decisions, failed.error) and _release(advance, no, attempt)


def _release(advance: Advance, no: int, attempt: int) -> bool:
    """A wait costs nothing: what its step had reserved goes back."""
    if advance.info.has_budget:
        reserved = steps.reserved(advance.session, advance.info.id, no, attempt)
        runs.settle(advance.session, advance.info.budget_id, reserved, 0)
    return True
