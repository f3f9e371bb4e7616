"""Taking back what steps have decided, in the transaction of an operator's act.

What goes on behind them is closed as by a stop, what follows is reset, and the containers among it are opened
anew. What was done keeps its attempts and its cost, and works under another idempotency key when it is done anew.
Source: spec "engine", Control and Idempotency keys.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.errors import ConflictError
from models.moves import Decision, Move, Transition
from models.queries import branches, compensations, resets, steps
from models.queries.resets import Row
from models.queries.steps import Hot
from models.states import OPEN, STEP_TERMINAL, StepStatus
from orchestrator.core.plan import Plan
from orchestrator.core.rewind import Rewound, Standing, rewind
from orchestrator.core.skips import CHUNK, descendants
from orchestrator.services import container_ends, opening_anew, stopping
from orchestrator.services.advance import Advance
from orchestrator.services.rerun_keys import key_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Steps whose edges join them: a run's own (branch 0), or those of a branch. Their numbers are in a row."""

    branch: int
    first: int
    count: int


def scope_of(plan: Plan, no: int) -> Scope:
    """The scope of a step."""
    branch, around = plan.branch(no), plan.nodes[no % len(plan.nodes)].scope
    if around is None:
        return Scope(branch=branch, first=0, count=plan.width)
    body = plan.nodes[around].body
    assert body is not None
    return Scope(branch=branch, first=plan.step_of(branch, body.first), count=body.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What an operator does, for the log. fresh: what starts again does so under a new key, a container from its
    first branch."""

    name: str
    reason: str
    actor: str
    fresh: bool = False

    @property
    def told(self) -> dict[str, Any]:
        """The act as a part of an event's data."""
        return {"act": self.name, "reason": self.reason}


def take_back(
    advance: Advance, scope: Scope, act: Act, again: Collection[int] = (), anew: Collection[int] = ()
) -> tuple[Decision, ...]:
    """Take back what steps have decided; `again` start anew, `anew` the caller moves and tells itself.

    What a compensation has undone is done anew in any case.
    Returns the decisions that let go on what is ready by what stays. Raises ConflictError where a step behind
    them is an external commitment that is under way, or where no edge to one of `again` lives.
    """
    undone = frozenset[int]() if scope.branch else _undone(advance, anew)
    taken = {*again, *undone}
    rows, found = _rewound(advance, scope, taken, anew)
    if found.closing:
        _close(advance, found.closing)
        rows, found = _rewound(advance, scope, taken, anew)
    _check_alive(rows, found, again)
    fresh = {*found.after, *undone, *(again if act.fresh else ())}
    afresh = {move.no for move in found.moves if move.no in fresh}
    nth = _nth(advance, rows, afresh)
    moves = [_told(move, act, nth if move.no in afresh else 0, of_act=move.no in again) for move in found.moves]
    apply_all(advance, moves)
    opening_anew.open_anew(advance, [no for no in afresh if advance.plan.at(no).body is not None])
    keys = {no: key_of(advance.info.id, rows[no], nth) for no in afresh}
    resets.begin_anew(advance.session, advance.info.id, keys)
    changed = {*anew, *(move.no for move in found.moves)}
    _set_error(advance, scope, [row for row in rows.values() if row.no not in changed])
    return found.decisions


def _undone(advance: Advance, anew: Collection[int]) -> frozenset[int]:
    """What was undone of the run, and what could not be, is done anew; of a body, its outermost container.

    Raises ConflictError where one of `anew` is behind such a step.
    """
    plan, session, run_id = advance.plan, advance.session, advance.info.id
    if not plan.undoable:
        return frozenset()
    undone = compensations.undone(session, run_id)
    stale = resets.stale_among(session, run_id, {plan.branch(no) for no in undone})
    found = frozenset(plan.outermost(no) for no in undone if plan.branch(no) not in stale)
    behind = descendants(plan, found) & {*anew}
    if behind:
        row, *_ = steps.hot(session, run_id, found)
        raise ConflictError(
            f"step {plan.at(min(behind)).id} is behind steps that were undone; rerun {row.path}, which does them anew"
        )
    compensations.forget(session, run_id)
    return found


def _rewound(
    advance: Advance, scope: Scope, again: Collection[int], anew: Collection[int]
) -> tuple[Mapping[int, Row], Rewound]:
    rows = {row.no: row for row in resets.rows(advance.session, advance.info.id, scope.first, scope.count)}
    standings = {
        no: Standing(
            status=StepStatus(row.status),
            attempt=row.attempt,
            out_edges=row.out_edges,
            undecided=row.undecided,
            live=row.live,
            live_in=row.live_in,
        )
        for no, row in rows.items()
    }
    return rows, rewind(advance.plan, standings, again, anew)


def _check_alive(rows: Mapping[int, Row], found: Rewound, again: Collection[int]) -> None:
    moved = {move.no for move in found.moves}
    for no in again:
        if no not in moved:
            raise ConflictError(
                f"step {rows[no].path} was skipped since too few edges to it live; rerun the step that decided them"
            )


def _nth(advance: Advance, rows: Mapping[int, Row], afresh: Iterable[int]) -> int:
    """The number of this doing anew within the run; 0 where nothing had begun."""
    begun = any(rows[no].attempt for no in afresh)
    return resets.reruns(advance.session, advance.info.id) + 1 if begun else 0


def _told(move: Move, act: Act, nth: int, *, of_act: bool) -> Move:
    more = (act.told if of_act else {}) | ({"rerun": nth} if nth else {})
    return replace(move, more=more, actor=act.actor if of_act else None)


def apply_all(advance: Advance, moves: Sequence[Move]) -> None:
    """Carry out moves that nothing follows from by itself."""
    for at in range(0, len(moves), CHUNK):
        advance.round(
            Transition(run_id=advance.info.id, moves=tuple(moves[at : at + CHUNK]), while_=OPEN)
        )


def _close(advance: Advance, nos: Sequence[int]) -> None:
    rows = with_what_is_inside(advance, steps.hot(advance.session, advance.info.id, nos))
    check_may_close(advance, rows)
    closed = stopping.close(advance.deps, advance.session, advance.plan, advance.info, rows)
    advance.effects.extend(closed.effects)


def with_what_is_inside(advance: Advance, rows: Sequence[Hot]) -> list[Hot]:
    """Steps, and all open ones in the bodies of the containers among them."""
    around = [row.no for row in rows if advance.plan.at(row.no).body is not None]
    numbers = [
        branch.number
        for no in around
        for branch in branches.of(advance.session, advance.info.id, no, ("open",))
    ]
    return [*rows, *container_ends.open_within(advance, numbers)]


def check_may_close(advance: Advance, rows: Sequence[Hot]) -> None:
    """Raises ConflictError where one of them is an external commitment that is under way."""
    idle = stopping.unbegun(advance.session, advance.plan, advance.info.id, rows)
    for row in rows:
        if stopping.is_let_end(advance.plan, row, idle):
            raise ConflictError(
                f"step {row.path} is {row.status} and an external commitment, which is let end; "
                "try again when it has ended"
            )


def _set_error(advance: Advance, scope: Scope, rows: Iterable[Row]) -> None:
    """The scope fails by the first failure that stays, if any does."""
    failed = [row for row in rows if _fails(advance.plan, row)]
    at = resets.failed_at(advance.session, advance.info.id, [row.path for row in failed])
    first = min(failed, key=lambda row: at[row.path], default=None)
    error = None if first is None else _error(advance, scope, first)
    if scope.branch:
        resets.set_branch_error(advance.session, advance.info.id, scope.branch, error)
    else:
        resets.set_error(advance.session, advance.info.id, error)


def _fails(plan: Plan, row: Row) -> bool:
    return row.status == StepStatus.FAILED and not plan.at(row.no).error_port


def _error(advance: Advance, scope: Scope, row: Row) -> dict[str, Any]:
    found = resets.attempt_error(advance.session, advance.info.id, row.no, row.attempt) or {}
    step = row.path if scope.branch else advance.plan.at(row.no).id
    error = {key: found.get(key) for key in ("code", "message", "details")} | {"step": step}
    return error | {"transient": found.get("transient", False)} if scope.branch else error


def let_go(advance: Advance, scope: Scope, decisions: Sequence[Decision] = ()) -> None:
    """Carry out decisions and all that follows; a branch that has nothing left to do ends."""
    for at in range(0, len(decisions), CHUNK):
        some = tuple(decisions[at : at + CHUNK])
        advance.push(Transition(run_id=advance.info.id, decisions=some, while_=OPEN))
    if scope.branch and scope.branch not in advance.ended:
        rows = resets.rows(advance.session, advance.info.id, scope.first, scope.count)
        if all(row.status in STEP_TERMINAL for row in rows):
            advance.ended.append(scope.branch)
    advance.settle()
