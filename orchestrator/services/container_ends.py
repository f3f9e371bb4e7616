"""The end of loops and parallels, and of branches that fail: success, failure, retry, and closing what is inside."""

import random
from collections.abc import Iterable
from typing import Any

from models.base import dump_json
from models.errors import ErrorCode, OrchestratorError
from models.moves import AttemptChange, AttemptResult, Decision, Move, Transition
from models.queries import branches, runs, steps
from models.queries.branches import ContainerRow
from models.queries.steps import Hot, Stored
from models.states import OPEN, StepStatus
from orchestrator.core import branching, conditions, decide, retry
from orchestrator.core.effects import Timer
from orchestrator.core.outcome import StepError
from orchestrator.core.plan import PlanNode
from orchestrator.services import asking, container_steps, data, deadlines, inline, stopping
from orchestrator.services.advancing import Advancing

MAX_RESULT_BYTES = 64 << 20  # spec "engine", Containers


def fail_in_branch(
    advance: Advancing, node: PlanNode, move: Move, decisions: tuple[Decision, ...], error: StepError
) -> bool:
    """A step of a branch failed for good, and no edge takes it: so does its branch. False on a lost race."""
    fast = advance.plan.on_failure == "fail_fast"
    result = advance.begin(
        Transition(run_id=advance.info.id, moves=(move,), decisions=() if fast else decisions, while_=OPEN)
    )
    if result is None:
        return False
    branch = advance.plan.branch(node.no)
    failure = container_steps.failure(error, result.moved[0].path)
    branches.fail(advance.session, advance.info.id, branch, failure)
    if fast:
        close(advance, [branch])
    advance.settle(result)
    return True


def close(advance: Advancing, numbers: Iterable[int]) -> None:
    """Nothing more starts in these branches, nor in those within them; what runs is given up or let end."""
    rows = open_within(advance, numbers)
    closed = stopping.close(advance.deps, advance.session, advance.plan, advance.info, rows)
    for row in rows:
        advance.queued.pop(row.no, None)
    advance.open_steps -= closed.steps
    advance.ended.extend(closed.branches)
    advance.effects.extend(closed.effects)


def open_within(advance: Advancing, numbers: Iterable[int]) -> list[Hot]:
    """The steps of branches, and of those within them, that have not ended."""
    session, run_id, plan = advance.session, advance.info.id, advance.plan
    rows: list[Hot] = []
    todo = list(numbers)
    while todo:
        nos = branches.open_steps(session, run_id, len(plan.nodes), todo)
        found = steps.hot(session, run_id, nos) if nos else []
        rows += found
        inner = [row.no for row in found if plan.at(row.no).body is not None]
        todo = [branch.number for no in inner for branch in branches.of(session, run_id, no, ("open",))]
    return rows


def is_closed(advance: Advancing, no: int) -> bool:
    """Whether nothing more starts where a step is: a branch around it was ended before all of its steps had."""
    if advance.plan.at(no).undoes is not None:
        return False
    branch = advance.plan.branch(no)
    while branch:
        row = branches.get(advance.session, advance.info.id, branch)
        (around,) = steps.hot(advance.session, advance.info.id, [row.container])
        failed = row.error is not None and advance.plan.on_failure == "fail_fast"
        if failed or around.status != StepStatus.WAITING:
            return True
        branch = advance.plan.branch(row.container)
    return False


def succeed(
    advance: Advancing, at: container_steps.Standpoint, row: ContainerRow, kept: container_steps.Kept
) -> bool:
    """The container succeeds with its results, if they are not too large. False on a lost race."""
    output: dict[str, Any] = {"count": row.ended, "failed": row.failed}
    size, limit = _result_bytes(advance, at), at.node.max_output_bytes or MAX_RESULT_BYTES
    if size > limit and at.node.on_large_output != "truncate":
        message = f"the results have {size} bytes, the limit is {limit}; collect less of each branch"
        return fail(advance, at, StepError.of(ErrorCode.OUTPUT_TOO_LARGE, message), row)
    if size > limit:
        output |= {"truncated": True, "bytes": size}
    names = data.names(advance.session, advance.plan, advance.info, no=at.node.no)
    names.know(
        at.node.no,
        Stored(no=at.node.no, status="success", attempt=at.attempt, out_edges=None, output=output),
    )
    try:
        holds = inline.edge_values(at.node, names)
    except OrchestratorError as error:
        return fail(advance, at, asking.step_error(error), row)
    digits = decide.edges_on_success(at.node, route=None, terminal=False, holds=holds)
    move = at.move(
        StepStatus.SUCCESS,
        "step.completed",
        {"edges": digits},
        tries=1,
        losses=0,
        out_edges=digits,
        change=container_steps.ending(at),
        result=AttemptResult(
            status="success",
            output=dump_json(output),
            resolved=kept.resolved,
            input_digest=kept.input_digest,
        ),
    )
    decisions = decide.decisions(advance.plan, at.node, digits)
    return advance.start(
        Transition(run_id=advance.info.id, moves=(move,), decisions=decisions, while_=OPEN)
    )


def _result_bytes(advance: Advancing, at: container_steps.Standpoint) -> int:
    plan, node = advance.plan, at.node
    size = len(plan.nodes)
    places = None if "collect" in node.fields else [last.no for last in plan.terminal_of(node.no % size)]
    return branches.result_bytes(advance.session, advance.info.id, node.no, size, places)


def fail(advance: Advancing, at: container_steps.Standpoint, error: StepError, row: ContainerRow | None) -> bool:
    """The container fails: it is retried by its policy, or fails for good; what runs in it ends."""
    wait = _retry_in(advance, at, error)
    if wait is None:
        digits = decide.edges_on_failure(at.node)
        move = at.move(
            StepStatus.FAILED,
            "step.failed",
            {"error": error.to_json(), "edges": digits},
            tries=1,
            losses=0,
            out_edges=digits,
            change=container_steps.ending(at),
            result=AttemptResult(status="failed", error=dump_json(error.to_json())),
        )
        decisions = decide.decisions(advance.plan, at.node, digits)
        done = advance.fail(at.node, move, decisions, error)
    else:
        done = _retry(advance, at, error, wait)
    if done and row is not None:
        _close_all(advance, row)
    return done


def _close_all(advance: Advancing, row: ContainerRow) -> None:
    if advance.stopped:
        return
    found = branches.of(advance.session, advance.info.id, row.no, ("open",))
    if found:
        close(advance, [branch.number for branch in found])
        advance.settle()


def _retry_in(advance: Advancing, at: container_steps.Standpoint, error: StepError) -> float | None:
    if at.status is not StepStatus.WAITING:
        return None  # what it asks for can't be had, and would not be a second time
    state = runs.lock(advance.session, advance.info.id)
    if state is not None and state.stopping is not None:
        return None
    wait = retry.delay(
        at.node.retry,
        error,
        at.tries + 1,
        random.random(),  # noqa: S311 - spreads retries, guards nothing
        lambda condition, names: bool(conditions.evaluate(condition, names)),
    )
    return wait if wait is not None and deadlines.leaves_time(advance, at.node, wait) else None


def _retry(advance: Advancing, at: container_steps.Standpoint, error: StepError, wait: float) -> bool:
    due = advance.deps.clock.now() + wait
    move = at.move(
        StepStatus.RETRYING,
        "step.retrying",
        {"error": error.to_json(), "due_at": due},
        tries=1,
        losses=0,
        due=due,
        change=AttemptChange.END,
        result=AttemptResult(status="failed", error=dump_json(error.to_json())),
    )
    seconds = advance.deps.clock.real(wait)
    if seconds <= 2 * advance.deps.settings.sweep_seconds:
        advance.effects.append(
            Timer(run_id=advance.info.id, no=at.node.no, attempt=at.attempt, seconds=max(0.0, seconds))
        )
    return advance.start(Transition(run_id=advance.info.id, moves=(move,), while_=OPEN))


def time_out(advance: Advancing, no: int, attempt: int) -> bool:
    """A container has outrun its timeout. False when it has ended, or goes on in another attempt."""
    what = "loop" if branching.is_loop(advance.plan.at(no)) else "parallel"
    return end(advance, no, attempt, StepError.of(ErrorCode.TIMEOUT, f"the {what} has outrun its timeout"))


def end(advance: Advancing, no: int, attempt: int, error: StepError) -> bool:
    """A container that waits for its branches fails; they are ended. False when it does not wait any more."""
    at = container_steps.standing(advance, no)
    if at.status is not StepStatus.WAITING or at.attempt != attempt:
        return False
    return fail(advance, at, error, branches.container(advance.session, advance.info.id, no))
