"""Ending a step by an operator's word: skipped, or succeeded with an output that is given."""

from dataclasses import replace
from typing import Any

from models.errors import InvalidError, Problem
from models.moves import AttemptChange, AttemptResult, Decision, Move, Transition
from models.queries import branches, runs, steps
from models.states import OPEN, StepStatus
from orchestrator.core import decide
from orchestrator.core.outcome import Failed, Succeeded
from orchestrator.services import claiming, container_ends, data, performing, rewinding, stopping
from orchestrator.services.performing import Performed
from orchestrator.services.reaching import Reached
from orchestrator.services.rewinding import Act


def skip(reached: Reached, act: Act) -> None:
    """Skip a step that has failed, not begun, or waits: its edges are dead. Raises ConflictError."""
    digits = decide.edges_on_skip(reached.node)
    move = _move(reached, act, StepStatus.SKIPPED, "step.skipped", digits)
    if reached.status is StepStatus.WAITING:
        move = replace(move, bump=1, change=AttemptChange.END, result=AttemptResult(status="aborted"))
    _end(reached, act, move, digits)


def complete(reached: Reached, act: Act, output: Any) -> None:
    """Let a failed or waiting step succeed. Raises ConflictError, and InvalidError for the output."""
    done = _accepted(reached, output)
    move = _move(reached, act, StepStatus.SUCCESS, "step.completed", done.digits)
    waits = reached.status is StepStatus.WAITING
    move = replace(
        move,
        tries=1,
        losses=0,
        bump=0 if waits else 1,
        change=AttemptChange.END if waits else AttemptChange.WHOLE,
        result=AttemptResult(status="success", output=done.output),
    )
    _end(reached, act, move, done.digits)


def _move(reached: Reached, act: Act, to: StepStatus, event: str, digits: str) -> Move:
    return Move(
        no=reached.row.no,
        fence=reached.row.attempt,
        sources=(reached.status,),
        to=to,
        event=event,
        more={"edges": digits} | act.told,
        actor=act.actor,
        out_edges=digits,
    )


def _accepted(reached: Reached, output: Any) -> Performed:
    """The output as a handler's would be taken: its size, its secrets, what its edges say of it."""
    advance = reached.advance
    claimed = claiming.as_held(advance.deps, advance.session, advance.info, reached.row)
    env = data.environment(advance.deps.settings)
    names = data.names(advance.session, advance.plan, advance.info, env, no=reached.row.no)
    done = performing.judged(advance.deps, claimed, names, Succeeded(output=output))
    if isinstance(done.outcome, Failed):
        error = done.outcome.error
        problem = Problem(pointer="/output", code=error.code.value, message=error.message)
        raise InvalidError(
            f"the output of step {reached.row.path} is refused; the step stays {reached.status}", [problem]
        )
    return done


def _end(reached: Reached, act: Act, move: Move, digits: str) -> None:
    advance = reached.advance
    let_go: tuple[Decision, ...] = ()
    if reached.status is StepStatus.FAILED:
        reached.open_again(act)
        let_go = rewinding.take_back(advance, reached.scope, act, anew=(reached.row.no,))
    if reached.status is StepStatus.WAITING:
        move = _give_up(reached, move)
    else:
        work = stopping.end_all_work(advance.session, advance.plan, advance.info.id, [reached.row])
        advance.effects.extend(work)
    told = decide.decisions(advance.plan, reached.node, digits, off_chord=True)
    first = advance.begin(
        Transition(run_id=advance.info.id, moves=(move,), decisions=(*told, *let_go), while_=OPEN)
    )
    assert first is not None, f"step {reached.row.path} changed under the lock of its run"
    advance.todo.append(first)
    rewinding.let_go(advance, reached.scope)


def _give_up(reached: Reached, move: Move) -> Move:
    """What a waiting step has under way elsewhere is stopped, paid at its estimate, and its reservation given back."""
    advance, row, node = reached.advance, reached.row, reached.node
    session, run_id = advance.session, advance.info.id
    if node.body is not None:
        open_ = branches.of(session, run_id, row.no, ("open",))
        container_ends.close(advance, [branch.number for branch in open_])
    cost = 0
    if node.slow:
        cost = claiming.estimate(advance.deps, node)
        advance.effects.extend(stopping.end_work(session, run_id, row, stopping.under_way(session, run_id, row)))
    advance.effects.extend(stopping.recall(session, advance.plan, run_id, [row], spare_running=False))
    if advance.info.has_budget:
        reserved = steps.reserved(session, run_id, row.no, row.attempt)
        runs.settle(session, advance.info.budget_id, reserved, cost)
    assert move.result is not None
    return replace(move, result=replace(move.result, cost=cost))
