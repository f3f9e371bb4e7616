"""What is written when a body has ended: the step's move, its edges, its cost, and what follows.

Completing a step and advancing its run are one transaction, always (spec "engine", Advancing a run).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

from sqlalchemy.orm import Session

from models.moves import AttemptChange, Decision, Move, OnReady, Target, Transition
from models.queries import runs, unserved
from models.queries.steps import Stored
from models.states import OPEN, RunStatus, StepStatus
from orchestrator.core import conditions, decide, lanes, retry
from orchestrator.core.effects import Effect, Timer
from orchestrator.core.lanes import Lane
from orchestrator.core.outcome import Call, Cancelled, Failed, Paused, Succeeded, Waiting
from orchestrator.core.plan import Plan, PlanNode
from orchestrator.core.waves import group
from orchestrator.services import (
    attempts,
    budgets,
    claiming,
    container_ends,
    container_steps,
    containers,
    deadlines,
    fenced,
    inline,
    parking,
    telling,
)
from orchestrator.services.advance import Advance
from orchestrator.services.claiming import Claimed
from orchestrator.services.deps import Deps
from orchestrator.services.performing import Performed

_ATTEMPT_STATUS = {
    StepStatus.SUCCESS: "success",
    StepStatus.FAILED: "failed",
    StepStatus.RETRYING: "failed",
    StepStatus.WAITING: "waiting",
    StepStatus.ABORTED: "aborted",
}


Done = Performed | inline.Inlined | inline.Contained


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What is written when a body has ended. `source`: a parked step is completed out of `waiting`.

    room: how many of the steps that become ready its worker may go on with. empty: it has no other step at hand.
    """

    deps: Deps
    claimed: Claimed
    source: StepStatus = StepStatus.RUNNING
    in_chord: bool = False
    room: int = 0
    empty: bool = True

    @property
    def go_on(self) -> bool:
        """Whether the worker may go on with any step, cheap or not."""
        return self.room > 0 and self.empty

    def write(self, session: Session, done: Done) -> tuple[Sequence[Effect], Claimed | None]:
        """Complete the step and advance its run; the effects, and the step that this worker goes on with."""
        advance = Advance(deps=self.deps, session=session, plan=self.claimed.plan, info=self.claimed.info)
        advance.held = self._overspends(session, done)
        if not self._interpret(advance, done):
            late = done if isinstance(done, Performed) else None
            return fenced.record(self.deps, session, self.claimed, late, pays=self._pays), None
        self._settle(advance, done)
        advance.release()
        following = self._following(advance, done) if self.go_on else None
        return advance.waves(keep=following.no if following else None), following

    def _inline(self, advance: Advance, done: inline.Inlined) -> bool:
        move = inline.as_claimed(done.move, self.claimed.attempt)
        if done.error is not None:
            return advance.fail(self.claimed.node, move, done.decisions, done.error)
        return advance.start(
            Transition(
                run_id=advance.info.id,
                moves=(move,),
                decisions=done.decisions,
                extras=done.extras,
                while_=OPEN,
            ),
            done.variables,
        )

    def _interpret(self, advance: Advance, done: Done) -> bool:
        if isinstance(done, inline.Contained) and self._stopping(advance):
            return self._aborted(advance, None)
        if isinstance(done, inline.Contained):
            return containers.start(advance, container_steps.standing(advance, self.claimed.no))
        if isinstance(done, inline.Inlined):
            return self._inline(advance, done)
        match done.outcome:
            case Succeeded() as outcome:
                return self._succeeded(advance, done, outcome)
            case Failed() as outcome:
                return self._failed(advance, done, outcome)
            case Waiting() | Paused() | Cancelled() if self._stopping(advance):
                return self._aborted(advance, done)
            case Waiting(reason=reason, seconds=seconds, output=output):
                due = None if seconds is None else self.deps.clock.now() + seconds
                more = {"reason": reason} | ({} if output is None else {"output": output})
                more |= {} if due is None else {"due_at": due}
                parked = self._park(advance, done, reason, due, more)
                if parked and done.outcome.lane is not None:
                    self._line_up(advance, done.outcome.lane)
                if parked and done.outcome.call is not None:
                    self._call(advance, done.outcome.call)
                if parked:
                    parking.begin(advance, self.claimed, done.outcome, due)
                return parked
            case Paused(reason=reason, expected_input=expected):
                more = {"reason": reason, "pauses": True, "expected_input": expected}
                parked = self._park(advance, done, reason, None, more)
                if parked:
                    runs.move(
                        advance.session,
                        advance.info.id,
                        RunStatus.PAUSED,
                        "run.paused",
                        {"reason": reason},
                    )
                    told = telling.align(advance.session, advance.plan, advance.info.id)
                    advance.effects.extend(told)
                return parked
            case Cancelled():
                return self._given_back(advance)
            case _ as never:
                assert_never(never)

    def _succeeded(self, advance: Advance, done: Performed, outcome: Succeeded) -> bool:
        return advance.start(
            Transition(
                run_id=advance.info.id,
                moves=(self._success(done, outcome),),
                decisions=self._decisions(done.digits),
                extras=inline.extra_events(self.claimed.path, outcome),
                while_=OPEN,
            ),
            outcome.variables,
        )

    def _success(self, done: Performed, outcome: Succeeded) -> Move:
        more = {"edges": done.digits} | ({} if outcome.route is None else {"route": outcome.route})
        return self._move(
            StepStatus.SUCCESS,
            "step.completed",
            more,
            done,
            tries=1,
            losses=0,
            route=outcome.route,
            out_edges=done.digits,
        )

    def alone(self, done: Done) -> Transition | None:
        """The one statement that completes this step, where the plan says that no second one can be needed.

        All its edges live, and no target is decided by a `when`, a dead edge or a chord; a join of inline nodes
        is queued, and claimed like any other. It is refused for a run that is paused or being stopped, or that
        would end by it otherwise than in success and no more, which then takes the longer way.
        """
        node, plan = self.claimed.node, self.claimed.plan
        if self.source is not StepStatus.RUNNING or node.undoes is not None:
            return None
        if not isinstance(done, Performed) or not isinstance(done.outcome, Succeeded):
            return None
        if plan.branch(self.claimed.no):
            return None  # its branch counts it in a second statement
        ends = not node.out and self._may_end
        if self.claimed.info.has_budget or not (ends or _all_live(plan, node, done.digits)):
            return None
        if done.outcome.variables or done.outcome.emits:
            return None
        if self.deps.chords and len(node.out) > 1 and any(plan.at(e.target).slow for e in node.out):
            return None
        return Transition(
            run_id=self.claimed.info.id,
            moves=(self._success(done, done.outcome),),
            decisions=tuple(_queued(decision) for decision in self._decisions(done.digits)),
            unless_stopping=True,
            unless_last=True,
            ends=ends,
        )

    @property
    def _may_end(self) -> bool:
        """Whether the statement that completes a step can end its run too: nothing is given, nobody has called it."""
        info = self.claimed.info
        return self.claimed.plan.outputs is None and info.parent_run_id is None and not self.deps.db.is_sqlite

    def _failed(self, advance: Advance, done: Performed, outcome: Failed) -> bool:
        node, error = self.claimed.node, outcome.error
        wait = retry.delay(
            node.retry,
            error,
            self.claimed.tries + 1,
            random.random(),  # noqa: S311 - spreads retries, guards nothing
            lambda condition, names: bool(conditions.evaluate(condition, names)),
        )
        if wait is None or self._stopping(advance) or not deadlines.leaves_time(advance, node, wait):
            move = self._move(
                StepStatus.FAILED,
                "step.failed",
                {"error": error.to_json(), "edges": done.digits},
                done,
                tries=1,
                losses=0,
                out_edges=done.digits,
            )
            return advance.fail(node, move, self._decisions(done.digits), error)
        due = self.deps.clock.now() + wait
        more = {"error": error.to_json(), "due_at": due}
        move = self._move(StepStatus.RETRYING, "step.retrying", more, done, tries=1, losses=0, due=due)
        return self._parked(advance, move, due)

    def _park(
        self, advance: Advance, done: Performed, reason: str, due: float | None, more: dict[str, Any]
    ) -> bool:
        move = self._move(
            StepStatus.WAITING, "step.waiting", more, done, losses=0, due=due, waiting_for=reason
        )
        return self._parked(advance, move, due)

    def _line_up(self, advance: Advance, lane: Lane) -> None:
        rank = lanes.rank(self.claimed.node.priority, self.claimed.info.priority)
        unserved.line_up(advance.session, advance.info.id, self.claimed.no, str(lane), rank)

    def _call(self, advance: Advance, call: Call) -> None:
        claimed = self.claimed
        told = telling.call(advance.session, advance.info.id, claimed.no, claimed.attempt, call)
        advance.effects.append(told)

    def _parked(self, advance: Advance, move: Move, due: float | None) -> bool:
        """The step ends its message without being decided: joins leave their chord."""
        began = advance.start(
            Transition(
                run_id=advance.info.id,
                moves=(move,),
                decisions=decide.leaving_chord(advance.plan, self.claimed.node),
                while_=OPEN,
            )
        )
        if began and due is not None:
            seconds = self.deps.clock.real(due - self.deps.clock.now())
            if seconds <= 2 * self.deps.settings.sweep_seconds:
                claimed = self.claimed
                advance.effects.append(
                    Timer(
                        run_id=advance.info.id,
                        no=claimed.no,
                        attempt=claimed.attempt,
                        seconds=max(0.0, seconds),
                    )
                )
        return began

    def _given_back(self, advance: Advance) -> bool:
        move = self._move(StepStatus.QUEUED, "step.queued", {"reason": "given back"}, None, status="aborted")
        return advance.requeue(move, decide.leaving_chord(advance.plan, self.claimed.node))

    def _aborted(self, advance: Advance, done: Performed | None) -> bool:
        """A run that is being stopped waits for no step that would go on only later, and opens no container."""
        digits = decide.edges_on_skip(self.claimed.node)
        move = self._move(
            StepStatus.ABORTED, "step.aborted", {"edges": digits}, done, bump=1, out_edges=digits
        )
        return advance.start(
            Transition(
                run_id=advance.info.id,
                moves=(move,),
                decisions=self._decisions(digits),
                while_=OPEN,
            )
        )

    def _move(
        self,
        to: StepStatus,
        event: str,
        more: dict[str, Any],
        done: Performed | None,
        *,
        status: str | None = None,
        **changes: Any,
    ) -> Move:
        return Move(
            no=self.claimed.no,
            fence=self.claimed.attempt,
            sources=(self.source,),
            to=to,
            event=event,
            more=more,
            change=AttemptChange.END,
            result=attempts.result(self.deps, self.claimed, done, status or _ATTEMPT_STATUS[to]),
            **changes,
        )

    def _decisions(self, digits: str) -> tuple[Decision, ...]:
        off_chord = self.claimed.node.slow and not self.in_chord
        return decide.decisions(self.claimed.plan, self.claimed.node, digits, off_chord=off_chord)

    def _stopping(self, advance: Advance) -> bool:
        """A run that is being stopped retries nothing, nor does a branch that is."""
        state = runs.lock(advance.session, advance.info.id)
        stopping = state is not None and state.stopping is not None
        return stopping or container_ends.is_closed(advance, self.claimed.no)

    def _overspends(self, session: Session, done: Done) -> bool:
        """Whether this step spends more than is left; its move comes first, and must start nothing then."""
        if not self._pays or self.claimed.node.undoes is not None:
            return False
        runs.lock(session, self.claimed.info.id)
        budget = runs.budget(session, self.claimed.info.budget_id)
        return budget is not None and budget.spent_microcents + self._paid(done) > budget.limit_microcents

    @property
    def _pays(self) -> bool:
        """Whether the budget pays for this step: what is called has paid for itself."""
        return self.claimed.info.has_budget and not self.claimed.node.calls

    def _paid(self, done: Done) -> int:
        return attempts.cost(self.deps, self.claimed, done) if isinstance(done, Performed) else 0

    def _settle(self, advance: Advance, done: Done) -> None:
        """Pay for what has ended; a step that parks keeps its reservation, for its work goes on elsewhere."""
        parked = any(moved.status is StepStatus.WAITING for moved in advance.moved)
        if parked or not self._pays:
            return
        paid = self._paid(done)
        budget = runs.settle(advance.session, advance.info.budget_id, self.claimed.reserved, paid)
        if budget is not None and budget.exceeded:
            budgets.exceed(advance, budget.on_exceeded)

    def _following(self, advance: Advance, done: Done) -> Claimed | None:
        ready = self.able([] if advance.stopped else list(advance.queued.values()))
        if not ready:
            return None
        target, known = ready[0], self.known(done)
        return claiming.claim(
            self.deps, advance.session, advance.info, target.no, target.attempt, known=known
        )

    def able(self, queued: Sequence[Target]) -> list[Target]:
        """The steps that this worker may go on with one of: of its queue, in no chord, and alone or quick."""
        plan = self.claimed.plan
        ready = [target for target in queued if not target.in_chord]
        groups = group(plan, [target.no for target in ready], chords=self.deps.chords)
        free = {no for grouping in groups if grouping.join is None for no in grouping.members}
        return [target for target in ready if target.no in free and self._is_able(plan.at(target.no), len(ready) == 1)]

    def _is_able(self, node: PlanNode, alone: bool) -> bool:
        own = node.queue == self.claimed.queue or node.inline
        return own and not node.gated and (alone or not node.slow)

    def known(self, done: Done) -> tuple[Stored, ...]:
        """This step's row, which the next one needs and need not read."""
        if not isinstance(done, Performed) or not isinstance(done.outcome, Succeeded):
            return ()
        return (
            Stored(
                no=self.claimed.no,
                status=StepStatus.SUCCESS,
                attempt=self.claimed.attempt,
                out_edges=done.digits,
                output=done.outcome.output,
            ),
        )


def _queued(decision: Decision) -> Decision:
    return decision if decision.on_ready is OnReady.QUEUE else replace(decision, on_ready=OnReady.QUEUE)


def _is_plain(target: PlanNode) -> bool:
    plain = target.need is None and target.when is None and target.total_timeout is None
    return plain and (not target.inline or len(target.ins) > 1)


def _all_live(plan: Plan, node: PlanNode, digits: str) -> bool:
    """Whether every edge lives and leads to a join of all: it cannot die, nor start before its time."""
    targets = [plan.at(edge.target) for edge in node.out]
    last = not targets and plan.ends_by_one
    return not last and "0" not in digits and all(_is_plain(target) for target in targets)
