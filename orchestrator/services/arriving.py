"""Bringing a run's rows to what is aimed at, by moves and events of its own: for a restore, and for a fork.

Steps that ended get the outcome of the attempt that counted, as a new attempt that copies it, and cost nothing; what
is to begin anew is reset. Whatever already is as it is to be stays untouched. Source: spec "engine", Checkpoints.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from models.errors import ErrorCode
from models.moves import Move, Transition
from models.queries import arrivals, branches, resets, runs, steps
from models.queries.arrivals import Copied, Counted
from models.queries.resets import Row
from models.states import STEP_TERMINAL, StepStatus
from orchestrator.core import branching
from orchestrator.core.aims import Aims
from orchestrator.core.containers_told import spans
from orchestrator.core.plan import Plan
from orchestrator.core.rebuild import BranchAt, StepAt
from orchestrator.core.skips import CHUNK
from orchestrator.services import containers, deadlines, rewinding, stopping
from orchestrator.services.advance import Advance
from orchestrator.services.rerun_keys import key_of

_ALL = 1 << 62
_OPEN = ("running", "paused")
_EVENTS = {
    StepStatus.SUCCESS: "step.completed",
    StepStatus.FAILED: "step.failed",
    StepStatus.SKIPPED: "step.skipped",
    StepStatus.WAITING: "step.waiting",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A run on its way. origin, seq: the run whose attempts count, and the event up to which they do.

    digests: inputs are given as they were. same: containers that are as they are to be already. told, actor: of the
    event that closes it; `variables` are those that stand then.
    """

    advance: Advance
    aims: Aims
    origin: str
    seq: int
    variables: Mapping[str, Any]
    told: Mapping[str, Any]
    actor: str
    digests: bool = True
    same: frozenset[int] = frozenset()
    copied: list[Copied] = field(default_factory=list)

    def arrive(self) -> None:
        """Write it all, and let go on what is ready then; the run ends where nothing is left to do.

        Raises ConflictError where an external commitment is under way that would have to be closed.
        """
        first = runs.seq(self.advance.session, self._run) + 1
        self._close()
        self._add_branches()
        rows = self._rows()
        self._reset(rows)
        self._count()
        self._move({row.no: row for row in self._rows().values()})
        self._put_containers()
        self._set_error()
        arrivals.set_variables(self.advance.session, self._run, self.variables)
        told = {**self.told, "first": first, "variables": dict(self.variables)}
        runs.note(self.advance.session, self._run, "checkpoint.restored", told, actor=self.actor)
        self.advance.ended.clear()
        self._let_go()

    @property
    def _run(self) -> str:
        return self.advance.info.id

    def _rows(self) -> dict[int, Row]:
        return {row.no: row for row in resets.rows(self.advance.session, self._run, 0, _ALL)}

    def _close(self) -> None:
        """What goes on and is not to is closed; what has not begun stays, where it is to be there at all."""
        aims = self.aims
        there = aims.kept.keys() | aims.parked.keys() | aims.anew.keys()
        rows = [
            row
            for row in steps.hot(self.advance.session, self._run)
            if row.status not in STEP_TERMINAL
            and row.no not in aims.left
            and not (row.status == StepStatus.PENDING and row.no in there)
        ]
        rewinding.check_may_close(self.advance, rows)
        closed = stopping.close(
            self.advance.deps, self.advance.session, self.advance.plan, self.advance.info, rows
        )
        self.advance.effects.extend(closed.effects)

    def _add_branches(self) -> None:
        """The branches that are to be there and are not, those that follow each other at once."""
        known = set(branches.numbers(self.advance.session, self._run))
        missing = [row for number, row in sorted(self.aims.branches.items()) if number not in known]
        for some in _in_line(missing):
            container = self.aims.containers[some[0].container]
            numbers = range(some[0].number, some[-1].number + 1)
            containers.add(self.advance, container.no, container.path, numbers, some[0].position)

    def _reset(self, rows: Mapping[int, Row]) -> None:
        advance = self.advance
        aims = (*self.aims.anew, *self.aims.parked, *self.aims.kept)
        found = [rows[no] for no in aims if rows[no].status != StepStatus.PENDING and not self._stands(rows[no])]
        begun = [row for row in found if row.attempt and row.no in self.aims.anew]
        nth = resets.reruns(advance.session, self._run) + 1 if begun else 0
        afresh = {row.no for row in begun}
        moves = [
            Move(
                no=row.no,
                fence=row.attempt,
                sources=(StepStatus(row.status),),
                to=StepStatus.PENDING,
                event="step.reset",
                more={"rerun": nth} if row.no in afresh else {},
                losses=0,
            )
            for row in found
        ]
        rewinding.apply_all(advance, moves)
        keys = {row.no: key_of(self._run, row, nth) for row in begun}
        resets.begin_anew(advance.session, self._run, keys)

    def _stands(self, row: Row) -> bool:
        """Whether a step is as it is to be already."""
        kept = self.aims.kept.get(row.no)
        if kept is None:
            return row.no in self.aims.left
        told = kept.told
        return (row.status, row.attempt, row.out_edges) == (told.status, told.attempt, told.edges)

    def _count(self) -> None:
        anew = [
            Counted(no=no, undecided=move.undecided or 0, live=move.live or 0, live_in=move.live_in)
            for no, move in self.aims.anew.items()
        ]
        joined = [
            Counted(no=no, undecided=step.undecided, live=step.live, live_in=step.told.live_in)
            for no, step in (*self.aims.kept.items(), *self.aims.parked.items())
            if step.told.live_in is not None
        ]
        arrivals.set_counters(self.advance.session, self._run, (*anew, *joined))

    def _move(self, rows: Mapping[int, Row]) -> None:
        """What had ended ends, what waited waits, in the order in which it did, and behind its sources."""
        there = (*self.aims.kept.values(), *self.aims.parked.values())
        due = [step for step in there if rows[step.no].status == StepStatus.PENDING]
        moves = [self._as_it_was(step, rows[step.no]) for step in _in_order(self.advance.plan, due)]
        for at in range(0, len(moves), CHUNK):
            some = tuple(moves[at : at + CHUNK])
            self.advance.round(Transition(run_id=self._run, moves=some, while_=_OPEN))
        deadlines.begin(self.advance, (step.no for step in due if step.no in self.aims.parked))
        arrivals.copy_attempts(
            self.advance.session, self.origin, self._run, self.copied, digests=self.digests
        )

    def _as_it_was(self, step: StepAt, row: Row) -> Move:
        told = step.told
        to = StepStatus.SKIPPED if told.status is StepStatus.ABORTED else told.status
        attempted = to is not StepStatus.SKIPPED
        parks = to is StepStatus.WAITING
        node = self.advance.plan.at(step.no)
        if attempted:
            copied = Copied(no=step.no, number=told.attempt, to=row.attempt + 1, parked=parks)
            self.copied.append(copied)
        what = "iterations" if branching.is_loop(node) else "branches"
        return Move(
            no=step.no,
            fence=row.attempt,
            sources=(StepStatus.PENDING,),
            to=to,
            event=_EVENTS[to],
            more=dict(self._told(step, to, what)),
            bump=int(attempted),
            tries=int(attempted and not parks),
            losses=0,
            route=told.route,
            out_edges=told.edges,
            waiting_for=what if parks else None,
            timeout=node.timeout if parks else None,
        )

    def _told(self, step: StepAt, to: StepStatus, what: str) -> Iterator[tuple[str, Any]]:
        if to is StepStatus.WAITING:
            yield "reason", what
        if step.told.edges is not None:
            yield "edges", step.told.edges
        if step.told.route is not None:
            yield "route", step.told.route
        if to is StepStatus.FAILED:
            yield "error", step.data.get("error")
        if step.told.degraded:
            yield from ((key, step.data[key]) for key in ("degraded", "error", "last_success") if key in step.data)
        if to is StepStatus.SKIPPED and "act" in step.data:
            yield "act", step.data["act"]
        yield "copied", step.told.attempt

    def _put_containers(self) -> None:
        session, aims = self.advance.session, self.aims
        gone = [
            (no, path)
            for no, path in resets.all_opened(session, self._run)
            if no not in aims.containers
        ]
        for _, path in gone:
            runs.note(session, self._run, "container.reset", {}, step=path)
        resets.forget(session, self._run, [no for no, _ in gone])
        mine: dict[int, list[BranchAt]] = {no: [] for no in aims.containers}
        for branch in aims.branches.values():
            mine[branch.container].append(branch)
        for no, of_it in sorted(mine.items()):
            if no not in self.same:
                self._put_container(no, of_it)

    def _put_container(self, no: int, of_it: list[BranchAt]) -> None:
        session, row = self.advance.session, self.aims.containers[no]
        items = arrivals.items(session, self.origin, no, self.seq)
        results = arrivals.results(session, self.origin, [branch.number for branch in of_it], self.seq)
        resets.keep_past(session, self._run, [no])
        counters = {"total": row.total, "opened": row.opened, "ended": row.ended, "failed": row.failed}
        arrivals.put_container(session, self._run, no, counters, items)
        by_status: dict[str, list[int]] = {}
        for branch in of_it:
            by_status.setdefault(branch.status, []).append(branch.number)
        for status, numbers in by_status.items():
            arrivals.put_branches(session, self._run, status, numbers)
        for branch in of_it:
            result = results.get(branch.number) if branch.status == "success" else None
            if branch.error is not None or result is not None:
                arrivals.put_branch(session, self._run, branch.number, branch.error, result)
        told = {
            **counters,
            "branches": spans({branch.position: branch.status for branch in of_it}),
            "errors": {str(branch.position): branch.error for branch in of_it if branch.error is not None},
        }
        runs.note(session, self._run, "container.restored", told, step=row.path)

    def _set_error(self) -> None:
        advance, failed = self.advance, self.aims.failure(self.advance.plan)
        error = None
        if failed is not None:
            found = failed.data.get("error") or {}
            error = {
                "code": found.get("code", ErrorCode.INTERNAL.value),
                "message": found.get("message", ""),
                "step": advance.plan.at(failed.no).id,
                "details": found.get("details"),
            }
        resets.set_error(advance.session, self._run, error)

    def _let_go(self) -> None:
        advance = self.advance
        for branch, decisions in self.aims.scopes:
            if not advance.stopped:
                rewinding.let_go(advance, self._scope(branch), decisions)
        for no in self.aims.waiting(advance.plan):
            if not advance.stopped:
                containers.carry_on(advance, no)
        if not advance.stopped:
            advance.open_steps = arrivals.open_steps(advance.session, self._run)
            advance.settle()

    def _scope(self, branch: int) -> rewinding.Scope:
        plan = self.advance.plan
        if branch == 0:
            return rewinding.Scope(branch=0, first=0, count=plan.width)
        body = plan.nodes[self.aims.branches[branch].container % len(plan.nodes)].body
        assert body is not None
        return rewinding.Scope(branch=branch, first=plan.step_of(branch, body.first), count=body.size)


def _in_order(plan: Plan, due: Iterable[StepAt]) -> list[StepAt]:
    """Steps by when they ended; one whose sources were done again after it comes behind them."""
    at: dict[int, int] = {}
    by_level = sorted(due, key=lambda step: plan.at(step.no).level)
    for step in by_level:
        node = plan.at(step.no)
        sources = () if node.need is not None else (at.get(edge.source, 0) for edge in node.ins)
        at[step.no] = max(step.seq, *sources, 0)
    return sorted(by_level, key=lambda step: at[step.no])


def _in_line(rows: list[BranchAt]) -> Iterator[list[BranchAt]]:
    """Branches of one container whose numbers and positions follow each other, together."""
    cuts = [0, *(at for at, (one, next_) in enumerate(pairwise(rows), 1) if not _follows(one, next_)), len(rows)]
    for begin, end in pairwise(cuts):
        if begin < end:
            yield rows[begin:end]


def _follows(one: BranchAt, other: BranchAt) -> bool:
    before = (one.container, one.number + 1, one.position + 1)
    return before == (other.container, other.number, other.position)
