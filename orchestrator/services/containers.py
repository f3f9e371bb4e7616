"""Loops and parallels: opened, carried on as their branches end, ended. A container parks; it has no worker.

All of it happens under the run's lock, in the transaction that makes it necessary. A branch's row stands for
the START and END round its body: written when it starts, decided when its last step has ended.
Source: spec "definition", Node types and Outputs; spec "engine", Containers.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from models.base import dump_json
from models.errors import ErrorCode, OrchestratorError
from models.moves import AttemptChange, AttemptResult, Move, Transition
from models.queries import branches, resets, runs, steps
from models.queries.branches import BranchRow, ContainerRow
from models.queries.resets import Row
from models.queries.steps import Hot
from models.states import OPEN, STEP_TERMINAL, StepStatus
from orchestrator.core import branching, decide, values
from orchestrator.core.branching import RefusedError
from orchestrator.core.effects import Timer
from orchestrator.core.outcome import StepError
from orchestrator.core.plan import PlanNode
from orchestrator.core.reset import Reset, Standing, reset
from orchestrator.services import asking, container_ends, container_steps, data, inline, opening_anew
from orchestrator.services.advancing import Advancing
from orchestrator.services.data import Names
from orchestrator.services.rerun_keys import key_of, rerun_of

_AT_ONCE = 1_000


def start(advance: Advancing, at: container_steps.Standpoint) -> bool:
    """Open a container, or go on with the branches of an earlier attempt that failed. False on a lost race."""
    names = data.names(advance.session, advance.plan, advance.info, no=at.node.no)
    row = branches.container(advance.session, advance.info.id, at.node.no)
    try:
        resolved = _mapping(at.node, names)
        opening = None if row is not None else _opening(advance, at.node, names)
        empty = (row is None or row.opened == 0) and _is_empty(at.node, opening or row, names)
    except (RefusedError, OrchestratorError) as error:
        return container_ends.fail(advance, at, _as_step_error(error), row)
    given = names.chained(at.node, at.live_in) | (resolved or {})
    kept = container_steps.Kept(
        resolved=None if resolved is None else dump_json(resolved), input_digest=data.digest(given)
    )
    if opening is not None:
        row = branches.open_container(
            advance.session, advance.info.id, at.node.no, opening.total, opening.items
        )
        told = {"total": opening.total}
        runs.note(advance.session, advance.info.id, "container.opened", told, step=at.path)
    assert row is not None
    if empty:
        return container_ends.succeed(advance, at, row, kept)
    if not _park(advance, at, kept):
        return False
    _carry_on(advance, container_steps.standing(advance, at.node.no), row)
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


def _park(advance: Advancing, at: container_steps.Standpoint, kept: container_steps.Kept) -> bool:
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
            while_=OPEN,
        )
    )


def _carry_on(advance: Advancing, at: container_steps.Standpoint, row: ContainerRow) -> None:
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
    most = branching.most_at_once(at.node)
    failed.sort(key=lambda branch: branch.status != "open")
    _line_up(advance, at, failed[most:])
    for branch in failed[:most]:
        _do_again(advance, at, branch)
    _open(advance, at, row)


def _line_up(advance: Advancing, at: container_steps.Standpoint, found: list[BranchRow]) -> None:
    """They are done again when there is room, before any that has not begun; until then they stand as aborted."""
    failed = [branch for branch in found if branch.status == "failed"]
    branches.put_off_all(advance.session, advance.info.id, [branch.number for branch in failed])
    for branch in failed:
        told = {"position": branch.position, "error": branch.error}
        runs.note(advance.session, advance.info.id, "branch.aborted", told, step=at.path)




def _go_again(advance: Advancing, at: container_steps.Standpoint, row: ContainerRow) -> bool:
    """Take up what was put off, as far as there is room; whether some of it is left.

    While something is put off, as many branches as may be are open, or all have been.
    """
    most, under_way = branching.most_at_once(at.node), row.opened - row.ended
    if branching.is_loop(at.node) or (under_way < most and row.opened != row.total):
        return False
    count, found = branches.put_off(advance.session, advance.info.id, row.no, most)
    taken = found[: max(0, most - (under_way - count))]
    for branch in taken:
        _do_again(advance, at, branch)
    return len(taken) < count


def _last(advance: Advancing, row: ContainerRow) -> BranchRow | None:
    if row.opened == 0:
        return None
    return branches.at(advance.session, advance.info.id, row.no, row.opened - 1)


def _do_again(advance: Advancing, at: container_steps.Standpoint, branch: BranchRow) -> None:
    """Reset what did not succeed in a branch, and start what that makes ready."""
    plan, run_id = advance.plan, advance.info.id
    nos = container_steps.steps_of(advance, at.node, branch.number)
    rows = {row.no: row for row in steps.hot(advance.session, run_id, nos)}
    edges = {row.no: row.out_edges for row in steps.stored(advance.session, run_id, nos, outputs=False)}
    again = reset(plan, nos, {no: _standing(row, edges[no]) for no, row in rows.items()})
    steps.set_live_in(advance.session, run_id, again.given)
    told = {"position": branch.position}
    given = {plan.at(no).id: live_in for no, live_in in again.given.items()}
    runs.note(
        advance.session, run_id, "branch.reopened", told | ({"given": given} if given else {}), step=at.path
    )
    branches.reopen(advance.session, run_id, branch.number)
    if again.moves:
        moves = _opened_anew(advance, again)
        advance.round(Transition(run_id=run_id, moves=moves, while_=OPEN))
    elif all(row.status in STEP_TERMINAL for row in rows.values()):
        # Every step had ended well: it was `collect` that failed, and is asked again.
        advance.ended.append(branch.number)
    if again.decisions:
        advance.push(Transition(run_id=run_id, decisions=again.decisions, while_=OPEN))


def _opened_anew(advance: Advancing, again: Reset) -> tuple[Move, ...]:
    """Containers behind steps that are done again begin with their first branch, under new keys: what they have done
    was of another input. Where steps in one are let end it goes on with what it has."""
    session, run_id = advance.session, advance.info.id
    afresh = [no for no in again.behind if not opening_anew.is_at_work(advance, no)]
    if not afresh:
        return again.moves
    opening_anew.open_anew(advance, afresh)
    nth = resets.reruns(session, run_id) + 1
    rows = [row for no in afresh for row in resets.rows(session, run_id, no, 1)]
    resets.begin_anew(session, run_id, {row.no: key_of(run_id, row, nth) for row in rows})
    return tuple(replace(move, more={"rerun": nth}) if move.no in afresh else move for move in again.moves)


def _standing(row: Hot, edges: str | None) -> Standing:
    return Standing(
        status=StepStatus(row.status), attempt=row.attempt, out_edges=edges, live_in=row.live_in
    )


def _open(advance: Advancing, at: container_steps.Standpoint, row: ContainerRow) -> None:
    """Start as many branches as there is room for; a loop starts one a transaction."""
    if _go_again(advance, at, row):
        return
    room = branching.window(at.node, container_steps.counters(row))
    if room == 0:
        return
    if branching.is_loop(at.node) and at.node.no in advance.iterated:
        _put_off(advance, at)
        return
    advance.iterated.add(at.node.no)
    _open_branches(advance, at, row.opened, room)
    branches.count(advance.session, advance.info.id, row.no, opened=room)


def _put_off(advance: Advancing, at: container_steps.Standpoint) -> None:
    """The next iteration starts in a transaction of its own, so that none grows without bound."""
    now = advance.deps.clock.now()
    branches.set_due(advance.session, advance.info.id, at.node.no, datetime.fromtimestamp(now, UTC))
    advance.effects.append(Timer(run_id=advance.info.id, no=at.node.no, attempt=at.attempt, seconds=0.0))


def wake(advance: Advancing, no: int, attempt: int) -> None:
    """Start the iteration that was put off."""
    at = container_steps.standing(advance, no)
    row = branches.container(advance.session, advance.info.id, no)
    if at.status is not StepStatus.WAITING or at.attempt != attempt or row is None:
        return
    branches.set_due(advance.session, advance.info.id, no, None)
    _open(advance, at, row)
    advance.settle()


def _open_branches(advance: Advancing, at: container_steps.Standpoint, first: int, count: int) -> None:
    plan, session, run_id = advance.plan, advance.session, advance.info.id
    body = at.node.body
    assert body is not None
    again = _use_again(advance, at, first, count)
    first, count = first + len(again), count - len(again)
    number = branches.next_number(session, run_id)
    numbers = range(number, number + count)
    if count:
        add(advance, at.node.no, at.path, numbers, first)
    entries = [plan.step_of(branch, entry) for branch in (*again, *numbers) for entry in body.start]
    for begin in range(0, len(entries), _AT_ONCE):
        decisions = decide.entering(plan, entries[begin : begin + _AT_ONCE])
        advance.push(Transition(run_id=run_id, decisions=decisions, while_=OPEN))


def add(advance: Advancing, no: int, path: str, numbers: range, first: int) -> None:
    """Give a container branches from position `first` on, with their steps, all pending."""
    plan, session, run_id = advance.plan, advance.session, advance.info.id
    members = plan.members(no % len(plan.nodes))
    branches.add(session, run_id, no, numbers, first, len(members))
    rows = [
        {
            "no": plan.step_of(branch, member.no),
            "path": f"{path}[{first + place}]/{member.id}",
            "undecided": len(member.ins),
            "queue": member.queue,
        }
        for place, branch in enumerate(numbers)
        for member in members
    ]
    steps.insert_all(session, run_id, json.dumps(rows))
    told = {"position": first, "count": len(numbers), "number": numbers[0]}
    runs.note(session, run_id, "branch.started", told, step=path)


def _use_again(advance: Advancing, at: container_steps.Standpoint, first: int, count: int) -> list[int]:
    """Reset the branches that an opening before has left at these places; their numbers.

    They are done anew with the container, under keys with the same number.
    """
    plan, session, run_id = advance.plan, advance.session, advance.info.id
    found = resets.stale(session, run_id, at.node.no, first, count)
    body = at.node.body
    assert body is not None
    (around,) = resets.rows(session, run_id, at.node.no, 1) if found else (None,)
    nth = rerun_of(around.idempotency_key) if around is not None else 0
    moves: list[Move] = []
    for _, number in found:
        rows = resets.rows(session, run_id, plan.step_of(number, body.first), body.size)
        moves += [_anew(plan.at(row.no), row, nth) for row in rows]
        keys = {row.no: key_of(run_id, row, nth) for row in rows}
        resets.begin_anew(session, run_id, keys)
    for begin in range(0, len(moves), _AT_ONCE):
        advance.round(
            Transition(run_id=run_id, moves=tuple(moves[begin : begin + _AT_ONCE]), while_=OPEN)
        )
    for position, number in found:
        branches.reopen(session, run_id, number)
        runs.note(session, run_id, "branch.reopened", {"position": position}, step=at.path)
    return [number for _, number in found]


def _anew(node: PlanNode, row: Row, nth: int) -> Move:
    return Move(
        no=row.no,
        fence=row.attempt,
        sources=(StepStatus(row.status),),
        to=StepStatus.PENDING,
        event="step.reset",
        more={"rerun": nth} if nth else {},
        losses=0,
        undecided=len(node.ins),
        live=0,
    )


def branch_ended(advance: Advancing, number: int) -> None:
    """The last step of a branch has ended: its container goes on, or ends."""
    session, run_id = advance.session, advance.info.id
    branch = branches.get(session, run_id, number)
    at = container_steps.standing(advance, branch.container)
    if at.status is not StepStatus.WAITING:
        if branches.end(session, run_id, number, "aborted"):
            runs.note(session, run_id, "branch.aborted", {"position": branch.position}, step=at.path)
        return
    names = data.names(session, advance.plan, advance.info, no=branch.container).after(number)
    error, result = branch.error, None
    if error is None and "collect" in at.node.fields:
        try:
            result = values.resolve(at.node.fields["collect"], names)
        except OrchestratorError as raised:
            error = container_steps.failure(asking.step_error(raised), at.path)
            branches.fail(session, run_id, number, error)
    if not branches.end(session, run_id, number, "failed" if error else "success", result):
        return
    told = {"position": branch.position} | ({"error": error} if error else {})
    runs.note(session, run_id, "branch.failed" if error else "branch.completed", told, step=at.path)
    row = branches.count(session, run_id, branch.container, ended=1, failed=int(error is not None))
    if branching.tolerates(at.node, container_steps.counters(row)):
        _go_on(advance, at, row, branch)
    elif error is not None:
        container_ends.fail(advance, at, _of_branch(branch, error), row)
    else:
        _fail(advance, at, row)


def _fail(advance: Advancing, at: container_steps.Standpoint, row: ContainerRow) -> None:
    """A container fails by a branch that failed before."""
    failed, *_ = branches.of(advance.session, advance.info.id, row.no, ("failed",))
    container_ends.fail(advance, at, _of_branch(failed, failed.error), row)


def _of_branch(branch: BranchRow, error: dict[str, Any]) -> StepError:
    """A branch's failure as its container's."""
    return StepError(
        code=ErrorCode(error["code"]),
        message=f"branch {branch.position} failed at {error['step']}: {error['message']}",
        transient=bool(error["transient"]),
        details={"branch": branch.position, "step": error["step"]},
    )


def carry_on(advance: Advancing, no: int) -> None:
    """A container that waits and has no branch open goes on as after the end of its last one; one of which more
    has failed than it tolerates fails.

    A loop whose last iteration was ended unfinished had begun its attempt, and is still to do it again.
    """
    at = container_steps.standing(advance, no)
    row = branches.container(advance.session, advance.info.id, no)
    if at.status is not StepStatus.WAITING or row is None:
        return
    last = _last(advance, row)
    if not branching.tolerates(at.node, container_steps.counters(row)):
        _fail(advance, at, row)
    elif last is None:
        _open(advance, at, row)
    elif branching.is_loop(at.node) and last.status == "aborted":
        _do_again(advance, at, last)
    else:
        _go_on(advance, at, row, last)
    advance.settle()


def _go_on(advance: Advancing, at: container_steps.Standpoint, row: ContainerRow, last: BranchRow) -> None:
    """Open what there is room for; end where nothing is left to do."""
    if branching.has_condition(at.node):
        names = data.names(advance.session, advance.plan, advance.info, no=row.no).after(last.number)
        try:
            more = inline.holds(at.node.fields["condition"], names)
        except OrchestratorError as error:
            container_ends.fail(advance, at, asking.step_error(error), row)
            return
        limit = branching.limit_reached(at.node, container_steps.counters(row)) if more else None
        if limit is not None:
            container_ends.fail(advance, at, limit, row)
            return
    else:
        more = row.ended != row.total
    if more:
        _open(advance, at, row)
    else:
        container_ends.succeed(advance, at, row, container_steps.Kept())
