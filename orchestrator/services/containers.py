"""Loops and parallels: opened, carried on as their branches end, ended. A container parks; it has no worker.

All of it happens under the run's lock, in the transaction that makes it necessary. A branch's row stands for
the START and END round its body: written when it starts, decided when its last step has ended.
Source: spec "definition", Node types and Outputs; spec "engine", Containers.
"""

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from models.base import dump_json
from models.errors import ErrorCode, OrchestratorError
from models.moves import AttemptChange, AttemptResult, Decision, Move, Target, Transition
from models.queries import branches, runs, steps
from models.queries.branches import BranchRow, ContainerRow
from models.queries.steps import Hot, Stored
from models.states import STEP_TERMINAL, StepStatus
from orchestrator.core import branching, conditions, decide, retry, values
from orchestrator.core.branching import Counters, RefusedError
from orchestrator.core.effects import Timer
from orchestrator.core.outcome import StepError
from orchestrator.core.plan import PlanNode
from orchestrator.core.reset import Standing, reset
from orchestrator.services import asking, data, inline, stopping
from orchestrator.services.advancing import Advancing
from orchestrator.services.data import Names
from orchestrator.services.overrides import effective

_OPEN = ("running", "paused")
_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What a container's attempt keeps of its input; JSON as text."""

    resolved: str | None = None
    input_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standpoint:
    """Where a container's step stands: ready in this transaction, claimed by a worker, or waiting."""

    node: PlanNode
    path: str
    status: StepStatus
    attempt: int
    tries: int
    live_in: str | None

    def move(self, to: StepStatus, event: str, more: dict[str, Any], **changes: Any) -> Move:
        """A move of the step out of where it stands; one that is ready begins its attempt with it."""
        begins = self.status is StepStatus.PENDING
        return Move(
            no=self.node.no,
            fence=self.attempt,
            sources=(self.status,),
            to=to,
            event=event,
            more=more,
            bump=int(begins),
            **changes,
        )


def ready(advance: Advancing, target: Target) -> Standpoint:
    """A container that has just become ready."""
    return Standpoint(
        node=effective(advance.info, advance.plan.at(target.no)),
        path=target.path,
        status=StepStatus.PENDING,
        attempt=target.attempt,
        tries=0,
        live_in=target.live_in,
    )


def standing(advance: Advancing, no: int) -> Standpoint:
    """A container as its row says."""
    (row,) = steps.hot(advance.session, advance.info.id, [no])
    return Standpoint(
        node=effective(advance.info, advance.plan.at(no)),
        path=row.path,
        status=StepStatus(row.status),
        attempt=row.attempt,
        tries=row.tries,
        live_in=row.live_in,
    )


def start(advance: Advancing, at: Standpoint) -> bool:
    """Open a container, or go on with the branches of an earlier attempt that failed. False on a lost race."""
    names = data.names(advance.session, advance.plan, advance.info, no=at.node.no)
    row = branches.container(advance.session, advance.info.id, at.node.no)
    try:
        resolved = _mapping(at.node, names)
        opening = None if row is not None else _opening(advance, at.node, names)
        empty = (row is None or row.opened == 0) and _is_empty(at.node, opening or row, names)
    except (RefusedError, OrchestratorError) as error:
        return _end_failed(advance, at, _as_step_error(error), row)
    given = names.chained(at.node, at.live_in) | (resolved or {})
    kept = _Kept(
        resolved=None if resolved is None else dump_json(resolved), input_digest=data.digest(given)
    )
    if opening is not None:
        row = branches.open_container(
            advance.session, advance.info.id, at.node.no, opening.total, opening.items
        )
    assert row is not None
    if empty:
        return _end_succeeded(advance, at, row, kept)
    if not _park(advance, at, kept):
        return False
    _carry_on(advance, standing(advance, at.node.no), row)
    advance.settle()
    return True


def _mapping(node: PlanNode, names: Names) -> Any:
    return None if node.input_mapping is None else values.resolve(dict(node.input_mapping), names)


def _opening(advance: Advancing, node: PlanNode, names: Names) -> branching.Opening:
    fields = {key: values.resolve(node.fields[key], names) for key in ("count", "items") if key in node.fields}
    if "max_iterations" in node.fields:
        fields["max_iterations"] = node.fields["max_iterations"]
    return branching.opening(node, fields, advance.deps.settings.max_items)


def _is_empty(node: PlanNode, opening: branching.Opening | ContainerRow | None, names: Names) -> bool:
    """Whether there is no first branch."""
    if opening is not None and opening.total == 0:
        return True
    return branching.asks_before(node) and not inline.holds(node.fields["condition"], names)


def _as_step_error(error: Exception) -> StepError:
    if isinstance(error, RefusedError):
        return error.error
    assert isinstance(error, OrchestratorError)
    return asking.step_error(error)


def _park(advance: Advancing, at: Standpoint, kept: _Kept) -> bool:
    """The step waits for its branches, without worker or lease."""
    begins = at.status is StepStatus.PENDING
    what = "iterations" if branching.is_loop(at.node) else "branches"
    move = at.move(
        StepStatus.WAITING,
        "step.waiting",
        {"reason": what},
        losses=0,
        waiting_for=what,
        timeout=at.node.timeout,
        change=AttemptChange.START if begins else AttemptChange.END,
        result=AttemptResult(status="waiting", resolved=kept.resolved, input_digest=kept.input_digest),
    )
    return advance.start(
        Transition(
            run_id=advance.info.id,
            moves=(move,),
            decisions=decide.leaving_chord(advance.plan, at.node),
            while_=_OPEN,
        )
    )


def _carry_on(advance: Advancing, at: Standpoint, row: ContainerRow) -> None:
    """Do again what an earlier attempt left undone, then open what there is room for."""
    failed = branches.of(advance.session, advance.info.id, row.no, ("failed", "aborted", "open"))
    if not failed:
        last = _last(advance, row)
        if last is None:
            _open(advance, at, row)
        else:
            _go_on(advance, at, row, last)
        return
    counted = sum(branch.status == "failed" for branch in failed)
    row = branches.count(advance.session, advance.info.id, row.no, ended=-counted, failed=-counted)
    for branch in failed:
        _do_again(advance, at.node, branch)
    _open(advance, at, row)


def _last(advance: Advancing, row: ContainerRow) -> BranchRow | None:
    if row.opened == 0:
        return None
    return branches.at(advance.session, advance.info.id, row.no, row.opened - 1)


def _do_again(advance: Advancing, node: PlanNode, branch: BranchRow) -> None:
    """Reset what did not succeed in a branch, and start what that makes ready."""
    plan, run_id = advance.plan, advance.info.id
    nos = _steps_of(advance, node, branch.number)
    rows = {row.no: _row(row) for row in steps.hot(advance.session, run_id, nos)}
    edges = {row.no: row.out_edges for row in steps.stored(advance.session, run_id, nos, outputs=False)}
    again = reset(
        plan,
        nos,
        {
            no: Standing(status=status, attempt=attempt, out_edges=edges[no])
            for no, (status, attempt) in rows.items()
        },
    )
    branches.reopen(advance.session, run_id, branch.number)
    if again.moves:
        advance.round(Transition(run_id=run_id, moves=again.moves, while_=_OPEN))
    elif all(status in STEP_TERMINAL for status, _ in rows.values()):
        # Every step had ended well: it was `collect` that failed, and is asked again.
        advance.ended.append(branch.number)
    if again.decisions:
        advance.push(Transition(run_id=run_id, decisions=again.decisions, while_=_OPEN))


def _row(row: Hot) -> tuple[StepStatus, int]:
    return StepStatus(row.status), row.attempt


def _steps_of(advance: Advancing, node: PlanNode, branch: int) -> list[int]:
    scope = node.no % len(advance.plan.nodes)
    return [advance.plan.step_of(branch, member.no) for member in advance.plan.members(scope)]


def _open(advance: Advancing, at: Standpoint, row: ContainerRow) -> None:
    """Start as many branches as there is room for; a loop starts one a transaction."""
    room = branching.window(at.node, _counters(row))
    if room == 0:
        return
    if branching.is_loop(at.node) and at.node.no in advance.iterated:
        _put_off(advance, at)
        return
    advance.iterated.add(at.node.no)
    _open_branches(advance, at, row.opened, room)
    branches.count(advance.session, advance.info.id, row.no, opened=room)


def _put_off(advance: Advancing, at: Standpoint) -> None:
    """The next iteration starts in a transaction of its own, so that none grows without bound."""
    now = advance.deps.clock.now()
    branches.set_due(advance.session, advance.info.id, at.node.no, datetime.fromtimestamp(now, UTC))
    advance.effects.append(Timer(run_id=advance.info.id, no=at.node.no, attempt=at.attempt, seconds=0.0))


def wake(advance: Advancing, no: int, attempt: int) -> None:
    """Start the iteration that was put off."""
    at = standing(advance, no)
    row = branches.container(advance.session, advance.info.id, no)
    if at.status is not StepStatus.WAITING or at.attempt != attempt or row is None:
        return
    branches.set_due(advance.session, advance.info.id, no, None)
    _open(advance, at, row)
    advance.settle()


def _open_branches(advance: Advancing, at: Standpoint, first: int, count: int) -> None:
    plan, session, run_id = advance.plan, advance.session, advance.info.id
    members = plan.members(at.node.no % len(plan.nodes))
    body = at.node.body
    assert body is not None
    number = branches.next_number(session, run_id)
    numbers = range(number, number + count)
    branches.add(session, run_id, at.node.no, numbers, first, len(members))
    rows = [
        {
            "no": plan.step_of(branch, member.no),
            "path": f"{at.path}[{first + place}]/{member.id}",
            "undecided": len(member.ins),
            "queue": member.queue,
        }
        for place, branch in enumerate(numbers)
        for member in members
    ]
    steps.insert_all(session, run_id, json.dumps(rows))
    told = {"position": first, "count": count, "number": number}
    runs.note(session, run_id, "branch.started", told, step=at.path)
    entries = [plan.step_of(branch, entry) for branch in numbers for entry in body.start]
    for begin in range(0, len(entries), _AT_ONCE):
        decisions = decide.entering(plan, entries[begin : begin + _AT_ONCE])
        advance.push(Transition(run_id=run_id, decisions=decisions, while_=_OPEN))


def fail_in_branch(
    advance: Advancing, node: PlanNode, move: Move, decisions: tuple[Decision, ...], error: StepError
) -> bool:
    """A step of a branch failed for good, and no edge takes it: so does its branch. False on a lost race."""
    fast = advance.plan.on_failure == "fail_fast"
    result = advance.begin(
        Transition(run_id=advance.info.id, moves=(move,), decisions=() if fast else decisions, while_=_OPEN)
    )
    if result is None:
        return False
    branch = advance.plan.branch(node.no)
    failure = _failure(error, result.moved[0].path)
    branches.fail(advance.session, advance.info.id, branch, failure)
    if fast:
        close(advance, [branch])
    advance.settle(result)
    return True


def close(advance: Advancing, numbers: Iterable[int]) -> None:
    """Nothing more starts in these branches, nor in those within them; what runs is given up or let end."""
    session, run_id, plan = advance.session, advance.info.id, advance.plan
    rows: list[Hot] = []
    todo = list(numbers)
    while todo:
        nos = branches.open_steps(session, run_id, len(plan.nodes), todo)
        found = steps.hot(session, run_id, nos) if nos else []
        rows += found
        inner = [row.no for row in found if plan.at(row.no).body is not None]
        todo = [branch.number for no in inner for branch in branches.of(session, run_id, no, ("open",))]
    closed = stopping.close(advance.deps, session, plan, advance.info, rows)
    for row in rows:
        advance.queued.pop(row.no, None)
    advance.open_steps -= closed.steps
    advance.ended.extend(closed.branches)
    advance.effects.extend(closed.effects)


def is_closed(advance: Advancing, no: int) -> bool:
    """Whether nothing more starts where a step is: a branch around it was ended before all of its steps had."""
    branch = advance.plan.branch(no)
    while branch:
        row = branches.get(advance.session, advance.info.id, branch)
        (around,) = steps.hot(advance.session, advance.info.id, [row.container])
        failed = row.error is not None and advance.plan.on_failure == "fail_fast"
        if failed or around.status != StepStatus.WAITING:
            return True
        branch = advance.plan.branch(row.container)
    return False


def branch_ended(advance: Advancing, number: int) -> None:
    """The last step of a branch has ended: its container goes on, or ends."""
    session, run_id = advance.session, advance.info.id
    branch = branches.get(session, run_id, number)
    at = standing(advance, branch.container)
    if at.status is not StepStatus.WAITING:
        branches.end(session, run_id, number, "aborted")
        return
    names = data.names(session, advance.plan, advance.info, no=branch.container).after(number)
    error, result = branch.error, None
    if error is None and "collect" in at.node.fields:
        try:
            result = values.resolve(at.node.fields["collect"], names)
        except OrchestratorError as raised:
            error = _failure(asking.step_error(raised), at.path)
            branches.fail(session, run_id, number, error)
    if not branches.end(session, run_id, number, "failed" if error else "success", result):
        return
    told = {"position": branch.position} | ({"error": error} if error else {})
    runs.note(session, run_id, "branch.failed" if error else "branch.completed", told, step=at.path)
    row = branches.count(session, run_id, branch.container, ended=1, failed=int(error is not None))
    if branching.tolerates(at.node, _counters(row)):
        _go_on(advance, at, row, branch)
    else:
        _end_failed(advance, at, _of_branch(branch, error), row)


def _failure(error: StepError, step: str) -> dict[str, Any]:
    return {
        "code": error.code.value,
        "message": error.message,
        "step": step,
        "details": error.details,
        "transient": error.transient,
    }


def _of_branch(branch: BranchRow, error: dict[str, Any]) -> StepError:
    """A branch's failure as its container's."""
    return StepError(
        code=ErrorCode(error["code"]),
        message=f"branch {branch.position} failed at {error['step']}: {error['message']}",
        transient=bool(error["transient"]),
        details={"branch": branch.position, "step": error["step"]},
    )


def _go_on(advance: Advancing, at: Standpoint, row: ContainerRow, last: BranchRow) -> None:
    """Open what there is room for; end where nothing is left to do."""
    if branching.has_condition(at.node):
        names = data.names(advance.session, advance.plan, advance.info, no=row.no).after(last.number)
        try:
            more = inline.holds(at.node.fields["condition"], names)
        except OrchestratorError as error:
            _end_failed(advance, at, asking.step_error(error), row)
            return
        limit = branching.limit_reached(at.node, _counters(row)) if more else None
        if limit is not None:
            _end_failed(advance, at, limit, row)
            return
    else:
        more = row.ended != row.total
    if more:
        _open(advance, at, row)
    else:
        _end_succeeded(advance, at, row, _Kept())


def _counters(row: ContainerRow) -> Counters:
    return Counters(total=row.total, opened=row.opened, ended=row.ended, failed=row.failed)


def _end_succeeded(
    advance: Advancing, at: Standpoint, row: ContainerRow, kept: _Kept
) -> bool:
    output = {"count": row.ended, "failed": row.failed}
    names = data.names(advance.session, advance.plan, advance.info, no=at.node.no)
    names.know(
        at.node.no,
        Stored(no=at.node.no, status="success", attempt=at.attempt, out_edges=None, output=output),
    )
    try:
        holds = inline.edge_values(at.node, names)
    except OrchestratorError as error:
        return _end_failed(advance, at, asking.step_error(error), row)
    digits = decide.edges_on_success(at.node, route=None, terminal=False, holds=holds)
    move = at.move(
        StepStatus.SUCCESS,
        "step.completed",
        {"edges": digits},
        tries=1,
        losses=0,
        out_edges=digits,
        change=_ending(at),
        result=AttemptResult(
            status="success",
            output=dump_json(output),
            resolved=kept.resolved,
            input_digest=kept.input_digest,
        ),
    )
    decisions = decide.decisions(advance.plan, at.node, digits)
    return advance.start(
        Transition(run_id=advance.info.id, moves=(move,), decisions=decisions, while_=_OPEN)
    )


def _ending(at: Standpoint) -> AttemptChange:
    return AttemptChange.WHOLE if at.status is StepStatus.PENDING else AttemptChange.END


def _end_failed(advance: Advancing, at: Standpoint, error: StepError, row: ContainerRow | None) -> bool:
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
            change=_ending(at),
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


def _retry_in(advance: Advancing, at: Standpoint, error: StepError) -> float | None:
    if at.status is not StepStatus.WAITING:
        return None  # what it asks for can't be had, and would not be a second time
    state = runs.lock(advance.session, advance.info.id)
    if state is not None and state.stopping is not None:
        return None
    return retry.delay(
        at.node.retry,
        error,
        at.tries + 1,
        random.random(),  # noqa: S311 - spreads retries, guards nothing
        lambda condition, names: bool(conditions.evaluate(condition, names)),
    )


def _retry(advance: Advancing, at: Standpoint, error: StepError, wait: float) -> bool:
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
    return advance.start(Transition(run_id=advance.info.id, moves=(move,), while_=_OPEN))


def time_out(advance: Advancing, no: int, attempt: int) -> bool:
    """A container has outrun its timeout. False when it has ended, or goes on in another attempt."""
    at = standing(advance, no)
    if at.status is not StepStatus.WAITING or at.attempt != attempt:
        return False
    row = branches.container(advance.session, advance.info.id, no)
    what = "loop" if branching.is_loop(at.node) else "parallel"
    error = StepError.of(ErrorCode.TIMEOUT, f"the {what} has outrun its timeout")
    return _end_failed(advance, at, error, row)

