"""Undoing what a run has done: its compensations, one after the other, the step that completed last first.

What is to be undone is found once and kept in rows, from which each next one is taken. A compensation is a step of
the plan like any other, so that its attempts, retries and waits are those of all steps; here is only what comes
between two of them. All of it happens under the run's lock, in the transaction that makes it necessary.
Source: spec "engine", Compensation.
"""

from typing import Any

from models.moves import AttemptChange, AttemptResult, Move, Moved, Transition
from models.queries import compensations, resets, runs, steps
from models.queries.compensations import Begun, Undo
from models.queries.runs import RunState
from models.queries.steps import Hot
from models.states import STEP_TERMINAL, RunStatus, StepStatus
from orchestrator.core.compensations import SUFFIX
from orchestrator.core.plan import PlanNode
from orchestrator.services import compensation_failures, telling, to_undo
from orchestrator.services.advancing import Advancing
from orchestrator.services.crash import crash_point
from orchestrator.services.rerun_keys import default

_WHILE = (RunStatus.COMPENSATING.value,)


def begin(
    advance: Advancing,
    told: dict[str, Any],
    *,
    actor: str | None = None,
    error: dict[str, Any] | None = None,
    again: bool = False,
) -> bool:
    """Undo what the run has done, and what is left of an earlier undoing; False where there is nothing.

    told: why, for the log. error: the run's, where it has none. again: what could not be undone is tried again.
    """
    session, run_id = advance.session, advance.info.id
    if again:
        compensations.again(session, run_id)
    compensations.add(session, run_id, to_undo.of_run(advance.deps, session, advance.plan, run_id))
    return start(advance, told, actor=actor, error=error)


def start(
    advance: Advancing,
    told: dict[str, Any],
    *,
    actor: str | None = None,
    error: dict[str, Any] | None = None,
) -> bool:
    """Undo what is noted to be undone; False where that is nothing."""
    session, run_id = advance.session, advance.info.id
    first = compensations.next_(session, run_id)
    if first is None or not runs.move(
        session, run_id, RunStatus.COMPENSATING, "run.compensating", told, actor=actor, error=error
    ):
        return False
    _undo(advance, first)
    return True


def go_on(advance: Advancing) -> bool:
    """Go on with the next step when one was undone; False when the run ends: all is undone, or one can't be."""
    session, run_id = advance.session, advance.info.id
    undo = compensations.begun(session, run_id)
    if undo is not None:
        owner, own = _rows(advance, undo)
        assert own is not None
        if own.status not in STEP_TERMINAL:
            return True
        crash_point("mid_compensation")
        if own.status != StepStatus.SUCCESS:
            _failed(advance, owner, own)
            return False
        _move(advance, owner, StepStatus.COMPENSATED, "step.compensated", {})
        compensations.done(session, run_id, owner.no)
    following = compensations.next_(session, run_id)
    if following is None:
        return False
    _undo(advance, following)
    return True


def end(advance: Advancing, state: RunState) -> None:
    """The run ends: compensated, or failed with its first error where a step could not be undone."""
    session, run_id = advance.session, advance.info.id
    failure = compensation_failures.found(session, advance.plan, run_id)
    if failure is None:
        runs.move(session, run_id, RunStatus.COMPENSATED, "run.compensated")
        return
    error = state.error or failure
    told = {"error": error, "compensation_failed": compensation_failures.told(failure)}
    runs.move(session, run_id, RunStatus.FAILED, "run.failed", told, error=error)


def _rows(advance: Advancing, undo: Undo) -> tuple[Hot, Hot | None]:
    """A step and its compensation's, which it has only once that has begun."""
    own = advance.plan.at(undo.no).undone_by
    assert own is not None
    rows = {row.no: row for row in steps.hot(advance.session, advance.info.id, [undo.no, own])}
    return rows[undo.no], rows.get(own)


def _failed(advance: Advancing, owner: Hot, own: Hot) -> None:
    session, run_id = advance.session, advance.info.id
    error = resets.attempt_error(session, run_id, own.no, own.attempt)
    _move(advance, owner, StepStatus.FAILED, "step.compensation_failed", {"error": error})
    compensations.fail(session, run_id, owner.no)


def _move(advance: Advancing, owner: Hot, to: StepStatus, event: str, more: dict[str, Any]) -> None:
    moved = _round(advance, _from(owner, to, event, more))
    assert moved, f"step {owner.path} changed under the lock of its run"


def _from(row: Hot, to: StepStatus, event: str, more: dict[str, Any]) -> Move:
    return Move(
        no=row.no, fence=row.attempt, sources=(StepStatus(row.status),), to=to, event=event, more=more
    )


def _round(advance: Advancing, *moves: Move) -> tuple[Moved, ...]:
    result = advance.round(Transition(run_id=advance.info.id, moves=moves, while_=_WHILE))
    return () if result is None else result.moved


def _undo(advance: Advancing, undo: Undo) -> None:
    """Begin the compensation of a step: its row is inserted, or reset where it was begun before."""
    session, run_id = advance.session, advance.info.id
    owner, own = _rows(advance, undo)
    node = advance.plan.at(_number(advance, undo))
    key = (owner.idempotency_key or default(run_id, owner.path)) + SUFFIX
    if own is None:
        begun = Begun(
            no=node.no,
            path=owner.path + SUFFIX,
            queue=node.queue,
            undone_attempt=undo.attempt,
            idempotency_key=key,
        )
        compensations.insert_step(session, run_id, begun)
    else:
        _reset(advance, own, undo)
        resets.begin_anew(session, run_id, {own.no: key})
    compensations.begin(session, run_id, undo.no)
    told = {"completion": undo.seq, "undoes": undo.attempt}
    moves = (
        _from(owner, StepStatus.COMPENSATING, "step.compensating", told),
        _beginning(node, 0 if own is None else own.attempt),
    )
    moved = _round(advance, *moves)
    assert len(moved) == len(moves), f"step {owner.path} changed under the lock of its run"
    if node.asks:
        advance.effects.append(telling.undo(session, run_id, node.no, moved[1].attempt))
    else:
        advance.queue(moved[1])


def _number(advance: Advancing, undo: Undo) -> int:
    own = advance.plan.at(undo.no).undone_by
    assert own is not None
    return own


def _reset(advance: Advancing, own: Hot, undo: Undo) -> None:
    move = Move(
        no=own.no,
        fence=own.attempt,
        sources=(StepStatus(own.status),),
        to=StepStatus.PENDING,
        event="step.reset",
        losses=0,
        live_in=str(undo.attempt),
    )
    _round(advance, move)


def _beginning(node: PlanNode, attempt: int) -> Move:
    """A compensation is queued; one that asks the run that its owner called waits for that."""
    if not node.asks:
        return Move(
            no=node.no,
            fence=attempt,
            sources=(StepStatus.PENDING,),
            to=StepStatus.QUEUED,
            event="step.queued",
        )
    reason = "the compensation of the called run"
    return Move(
        no=node.no,
        fence=attempt,
        sources=(StepStatus.PENDING,),
        to=StepStatus.WAITING,
        event="step.waiting",
        more={"reason": reason},
        bump=1,
        losses=0,
        waiting_for=reason,
        change=AttemptChange.START,
        result=AttemptResult(status="waiting"),
    )
