"""Carry a transition to its end within one transaction: skips, inline nodes, the end of the run.

Each round is one statement; it returns only what needs another (spec "engine", Advancing a run).
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from models.errors import OrchestratorError
from models.moves import Decision, Move, Moved, Target, Transition, Transitioned
from models.queries import runs, steps, transitions
from models.queries.runs import RunInfo
from models.states import OPEN, RunStatus, StepStatus
from orchestrator.core import skips
from orchestrator.core.effects import Effect, Message, Wave
from orchestrator.core.outcome import StepError
from orchestrator.core.plan import Plan, PlanNode
from orchestrator.core.skips import Counters
from orchestrator.core.waves import Grouping, group
from orchestrator.services import (
    asking,
    container_ends,
    container_steps,
    containers,
    counting,
    data,
    deadlines,
    degrading,
    inline,
    lanes,
    run_ends,
    stopping,
)
from orchestrator.services.deps import Deps

INLINE_LIMIT = 100


@dataclass(slots=True, kw_only=True)
class Advance:
    """One transaction's advance of one run, and what came of it.

    held: nothing that becomes ready is evaluated, and the run does not end, until `release`.
    sound: nothing is known by which the run would not succeed.
    todo, ended: rounds and branches that something still follows from. iterated: loops that have started an
    iteration; the next one is another transaction's.
    """

    deps: Deps
    session: Session
    plan: Plan
    info: RunInfo
    queued: dict[int, Target] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)
    moved: tuple[Moved, ...] = ()
    inlined: int = 0
    open_steps: int = -1
    paused: bool = False
    undoing: bool = False
    sound: bool = True
    stopped: bool = False
    held: bool = False
    todo: deque[Transitioned] = field(default_factory=deque)
    ended: deque[int] = field(default_factory=deque)
    iterated: set[int] = field(default_factory=set)
    settling: bool = False

    def start(self, transition: Transition, variables: Mapping[str, Any] | None = None) -> bool:
        """The first round and all that follow from it; False when the first one lost its race.

        `variables` are set when it was won, before the steps that it makes ready can read them.
        """
        first = self.begin(transition)
        if first is None:
            return False
        if variables:
            runs.set_variables(self.session, self.info.id, variables)
        self.settle(first)
        return True

    def begin(self, transition: Transition) -> Transitioned | None:
        """The first round without what follows from it; None when it lost its race."""
        first = self.round(transition)
        if first is None or (transition.moves and not first.moved):
            return None
        if not self.settling:
            self.moved = first.moved
        return first

    def push(self, transition: Transition) -> None:
        """A round of which the rest follows with that of the others."""
        result = self.round(transition)
        if result is not None:
            self.todo.append(result)

    def queue(self, moved: Moved) -> None:
        """A step that was queued goes out by a message of its own."""
        self.queued[moved.no] = Target(
            no=moved.no,
            path=moved.path,
            attempt=moved.attempt,
            queue=self.plan.at(moved.no).queue,
            in_chord=False,
            verdict="queued",
            live_in=moved.live_in,
        )

    def requeue(self, move: Move, decisions: tuple[Decision, ...] = ()) -> bool:
        """A step goes back to the queue, and out again by a message of its own. False on a lost race."""
        if not self.start(Transition(run_id=self.info.id, moves=(move,), decisions=decisions, while_=OPEN)):
            return False
        self.queue(self.moved[0])
        return True

    def fail(self, node: PlanNode, move: Move, decisions: tuple[Decision, ...], error: StepError) -> bool:
        """A step that failed for good: it is degraded, its error edges take it, or the run fails.

        False on a lost race.
        """
        instead = degrading.instead(self, node, move, decisions, error)
        if instead is not None:
            return self.start(instead)
        if node.error_port or node.undoes is not None:
            return self.start(
                Transition(run_id=self.info.id, moves=(move,), decisions=decisions, while_=OPEN)
            )
        if self.plan.branch(node.no):
            return container_ends.fail_in_branch(self, node, move, decisions, error)
        failure = run_ends.run_error(error, node.id)
        if self.plan.on_failure == "fail_fast":
            return self._fail_fast(move, failure)
        return self.start(
            Transition(run_id=self.info.id, moves=(move,), decisions=decisions, while_=OPEN, error=failure)
        )

    def _fail_fast(self, move: Move, failure: dict[str, Any]) -> bool:
        """Nothing new starts: the targets are not told, they are skipped with all the rest."""
        result = self.begin(Transition(run_id=self.info.id, moves=(move,), while_=OPEN, error=failure))
        if result is None:
            return False
        if result.stopping is None:
            self.stop(RunStatus.FAILED)
        else:
            self._finish_if_over()
        return True

    def round(self, transition: Transition) -> Transitioned | None:
        """One round; the branches that it leaves without an open step are dealt with when all else is."""
        result = transitions.apply(self.session, transition)
        if result is not None:
            self.open_steps = result.open_steps
            self.paused = result.run_status == RunStatus.PAUSED
            self.undoing = result.run_status == RunStatus.COMPENSATING
            self.sound = not (self.undoing or result.failed or result.stopping)
            self.ended.extend(counting.count(self.session, self.plan, transition, result))
        return result

    def settle(self, first: Transitioned | None = None) -> None:
        """All that follows from the rounds so far; called within itself, it leaves them to the outer one."""
        if first is not None:
            self.todo.append(first)
        if self.settling:
            return
        self.settling = True
        while not self.stopped and (self.todo or self.ended):
            if self.todo:
                self._follow(self.todo.popleft())
            else:
                containers.branch_ended(self, self.ended.popleft())
        self.settling = False
        if not self.held:
            self._finish_if_over()

    def _follow(self, result: Transitioned) -> None:
        queued = {t.no: t for t in result.targets if t.verdict == "queued"}
        self.queued.update(queued)
        deadlines.begin(self, queued)
        dead = [t.no for t in result.targets if t.verdict == "dead"]
        later: list[Target] = []
        for target in result.targets:
            if target.verdict == "inline" and not self.stopped:
                dead += self._inline(target, result.run_status, later)
        if later and not self.stopped:
            self._queue(later)
        if dead and not self.stopped:
            self._skip(dead)

    def release(self) -> None:
        """End the run where its last step has ended while it was held."""
        if self.held:
            self.held = False
            self._finish_if_over()

    def _skip(self, dead: list[int]) -> None:
        rows = {
            row.no: Counters(status=row.status, attempt=row.attempt, undecided=row.undecided, live=row.live)
            for row in steps.hot(self.session, self.info.id, skips.descendants(self.plan, dead))
        }
        for moves, decisions in skips.rounds(self.plan, dead, rows):
            self.push(Transition(run_id=self.info.id, moves=moves, decisions=decisions, while_=OPEN))

    def _inline(self, target: Target, run_status: str, later: list[Target]) -> list[int]:
        """Evaluate one ready node, or put it among those for `later`; the nodes that are dead by its `when`."""
        node = self.plan.at(target.no)
        env = data.environment(self.deps.settings)
        names = data.names(self.session, self.plan, self.info, env, no=target.no)
        try:
            if node.when is not None and not inline.holds(node.when, names.without_env()):
                return [node.no]
        except OrchestratorError as error:
            self._apply(node, inline.failed(self.plan, node, target.attempt, asking.step_error(error)))
            return []
        full = self.held or self.inlined >= INLINE_LIMIT or run_status == RunStatus.PAUSED
        if full or not node.inline:
            later.append(target)
        elif node.body is not None:
            deadlines.begin(self, (node.no,))
            containers.start(self, container_steps.ready(self, target))
        else:
            self.inlined += 1
            self._apply(node, inline.evaluate(self.deps, node, self.plan, names, target, self.info))
        return []

    def _queue(self, targets: list[Target]) -> None:
        moves = tuple(
            Move(
                no=target.no,
                fence=target.attempt,
                sources=(StepStatus.PENDING,),
                to=StepStatus.QUEUED,
                event="step.queued",
            )
            for target in targets
        )
        result = self.round(Transition(run_id=self.info.id, moves=moves, while_=OPEN))
        if result is not None:
            moved = {step.no for step in result.moved}
            self.queued.update((target.no, target) for target in targets if target.no in moved)
            deadlines.begin(self, moved)

    def _apply(self, node: PlanNode, done: inline.Inlined) -> None:
        if done.error is not None:
            instead = degrading.instead(self, node, done.move, done.decisions, done.error)
            if instead is not None:
                self.push(instead)
                return
        if done.error is not None and not node.error_port:
            if self.plan.branch(node.no):
                container_ends.fail_in_branch(self, node, done.move, done.decisions, done.error)
                return
            failure = run_ends.run_error(done.error, node.id)
            if self.plan.on_failure == "fail_fast":
                self._fail_fast(done.move, failure)
                return
        else:
            failure = None
        result = self.round(
            Transition(
                run_id=self.info.id,
                moves=(done.move,),
                decisions=done.decisions,
                extras=done.extras,
                while_=OPEN,
                error=failure,
            )
        )
        if result is not None and result.moved:
            if done.variables:
                runs.set_variables(self.session, self.info.id, done.variables)
            self.todo.append(result)

    def stop(
        self, status: RunStatus, error: dict[str, Any] | None = None, *, spare_running: bool = False
    ) -> None:
        """Close the run's steps; nothing else of this advance is sent. `error` says why it ends as `status`."""
        self.stopped, self.sound = True, False
        self.queued.clear()
        self.todo.clear()
        self.ended.clear()
        runs.set_stopping(self.session, self.info.id, status, error)
        left = stopping.stop(
            self.deps, self.session, self.plan, self.info, status, spare_running=spare_running
        )
        self.effects.extend(left.effects)
        self.open_steps = left.open_steps
        self._finish_if_over()

    def _finish_if_over(self) -> None:
        """End the run, or undo the next step, when no step is open but one that is being undone."""
        if self.open_steps == int(self.undoing):
            self.stopped = True
            run_ends.finish(self)

    def waves(self, *, keep: int | None = None) -> list[Effect]:
        """What is to be sent after the commit; joins that a chord's body carries on, and `keep`, are not.

        What the window has no room for is held back; what becomes ready in a paused run waits for the resume.
        """
        if self.paused:
            return list(self.effects)
        ready = [t for t in self.queued.values() if not t.in_chord and t.no != keep]
        going = lanes.admit(self.deps, self.info, self.plan, ready, self.session)
        groups = group(self.plan, [t.no for t in going], chords=self.deps.chords)
        return [*self.effects, *(self._wave(grouping) for grouping in groups)]

    def _wave(self, grouping: Grouping) -> Wave:
        messages = tuple(self.message(self.queued[no]) for no in grouping.members)
        if grouping.join is None:
            return Wave(messages=messages)
        result = self.round(
            Transition(
                run_id=self.info.id,
                decisions=(
                    Decision(
                        source=None,
                        target=grouping.join,
                        decided=0,
                        need=self.plan.at(grouping.join).need,
                        chord=True,
                    ),
                ),
                while_=OPEN,
            )
        )
        if result is None:
            return Wave(messages=messages)
        return Wave(messages=messages, join=self.message(result.targets[0]))

    def message(self, target: Target) -> Message:
        return message(self.info, target)


def message(info: RunInfo, target: Target) -> Message:
    """The message that says of a queued step `look at it`."""
    return Message(run_id=info.id, no=target.no, path=target.path, attempt=target.attempt, queue=target.queue)
