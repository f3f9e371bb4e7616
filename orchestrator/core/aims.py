"""Where a run is to stand when it goes on from a state: what is kept as it ended, and what begins anew. Pure.

What was decided in the state stays; what was under way then, or closed before it had decided, begins anew; a
container that waited goes on with its branches as they were. Source: spec "engine", Checkpoints and Control.
"""

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from models.moves import Decision, Move, is_dead, is_ready
from models.states import StepStatus
from orchestrator.core import branching
from orchestrator.core.branching import Counters
from orchestrator.core.plan import Plan, PlanNode
from orchestrator.core.rebuild import BranchAt, ContainerAt, State, StepAt, fails
from orchestrator.core.replay import StepState
from orchestrator.core.rewind import Standing, rewind
from orchestrator.core.skips import descendants


@dataclass(slots=True, kw_only=True)
class Aims:
    """What the run's rows are to be, by number of the step or the branch.

    kept: steps as they ended. parked: containers that wait for their branches. left: steps that still go on as
    they did in the state, and are let go on. anew: pending, by the move that resets one: its counters leave out
    what makes it ready or dead at once. scopes: branches that go on (0: the run itself), outermost first, with
    the decisions that let go on what is ready in them.
    """

    kept: dict[int, StepAt] = field(default_factory=dict)
    parked: dict[int, StepAt] = field(default_factory=dict)
    left: set[int] = field(default_factory=set)
    anew: dict[int, Move] = field(default_factory=dict)
    containers: dict[int, ContainerAt] = field(default_factory=dict)
    branches: dict[int, BranchAt] = field(default_factory=dict)
    scopes: list[tuple[int, tuple[Decision, ...]]] = field(default_factory=list)

    def waiting(self, plan: Plan) -> list[int]:
        """The containers that wait and have no branch open, or more failed ones than they tolerate: nothing else
        would carry them on, or end them at once."""
        open_ = {branch.container for branch in self.branches.values() if branch.status == "open"}
        found = (*self.parked, *(no for no in self.left if no in self.containers))
        return sorted(no for no in found if no not in open_ or not self._tolerates(plan, no))

    def _tolerates(self, plan: Plan, no: int) -> bool:
        row = self.containers[no]
        counters = Counters(total=row.total, opened=row.opened, ended=row.ended, failed=row.failed)
        return branching.tolerates(plan.at(no), counters)

    def failure(self, plan: Plan) -> StepAt | None:
        """The first of the run's own steps that failed, and that no edge took."""
        failed = [step for no, step in self.kept.items() if not plan.branch(no) and fails(plan.at(no), step)]
        return min(failed, key=lambda step: step.seq, default=None)


def aim(plan: Plan, state: State, *, again: Collection[int] = (), left: Collection[int] = ()) -> Aims:
    """What a state comes to. `again`: steps of the run itself that are done again with all behind them; `left`:
    steps that may be let go on where they are."""
    branches: dict[int, list[BranchAt]] = {}
    for branch in state.branches.values():
        branches.setdefault(branch.container, []).append(branch)
    aiming = _Aiming(
        plan=plan, state=state, again=frozenset(again), may_go_on=frozenset(left), branches=branches
    )
    return aiming.all()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Aiming:
    plan: Plan
    state: State
    again: frozenset[int]
    may_go_on: frozenset[int]
    branches: Mapping[int, list[BranchAt]]
    aims: Aims = field(default_factory=Aims)
    todo: deque[tuple[int, tuple[PlanNode, ...]]] = field(default_factory=deque)

    def all(self) -> Aims:
        self.todo.append((0, self.plan.members(None)))
        while self.todo:
            self._scope(*self.todo.popleft())
        return self.aims

    def _scope(self, branch: int, members: tuple[PlanNode, ...]) -> None:
        """A scope in which steps go on."""
        again = self.again if branch == 0 else frozenset[int]()
        taken = frozenset(descendants(self.plan, again))
        steps = [self.state.steps[self.plan.step_of(branch, member.no)] for member in members]
        met = self._met(steps)
        standings = {step.no: self._standing(step, taken, met) for step in steps}
        found = rewind(self.plan, standings, again)
        self.aims.scopes.append((branch, found.decisions))
        moves = {move.no: move for move in found.moves}
        for step in steps:
            if step.no in moves:
                self._anew(step, moves[step.no], fresh=step.no in taken or step.no not in met)
            elif step.ended:
                self.aims.kept[step.no] = step
                self._whole(step.no)
            else:
                self._going(step)

    def _met(self, steps: Collection[StepAt]) -> set[int]:
        """The steps whose place follows from what stands before them.

        Amid an act that takes back, what is behind a step may still stand when the step itself is reset already.
        """
        digits: dict[int, str] = {}
        met: set[int] = set()
        for step in sorted(steps, key=lambda step: (self.plan.at(step.no).level, step.no)):
            node = self.plan.at(step.no)
            found = [digits.get(edge.source) for edge in node.ins]
            live = sum(d is not None and d[e.index : e.index + 1] == "1" for e, d in zip(node.ins, found, strict=True))
            undecided = sum(d is None for d in found)
            ready = not node.ins or is_ready(undecided, live, node.need)
            skipped = step.status is StepStatus.SKIPPED
            dead = skipped and (bool(step.data.get("act")) or is_dead(undecided, live, node.need))
            if (ready or dead) and not (step.status is StepStatus.PENDING and step.data.get("rerun")):
                met.add(step.no)
                if step.ended and step.told.edges is not None:
                    digits[step.no] = step.told.edges
        return met

    def _standing(self, step: StepAt, taken: Collection[int], met: Collection[int]) -> Standing:
        """A step that cannot go on where it is counts as one that was closed before it had decided."""
        goes_on = step.no not in taken and (step.no in self.may_go_on or self._parks(step))
        stays = step.no in met and (step.ended or goes_on)
        return Standing(
            status=step.status if stays else StepStatus.SKIPPED,
            attempt=step.told.attempt,
            out_edges=step.told.edges if stays else None,
            undecided=step.undecided,
            live=step.live,
            live_in=step.told.live_in,
        )

    def _parks(self, step: StepAt) -> bool:
        return step.status is StepStatus.WAITING and step.no in self.state.containers

    def _anew(self, step: StepAt, move: Move, *, fresh: bool) -> None:
        self.aims.anew[step.no] = move
        if not fresh:  # a container goes on with what an earlier attempt left
            self._whole(step.no)

    def _going(self, step: StepAt) -> None:
        if step.no in self.may_go_on:
            self.aims.left.add(step.no)
        else:
            self.aims.parked[step.no] = step
        container = self.state.containers.get(step.no)
        if container is None:
            return
        self.aims.containers[step.no] = container
        for branch in self._branches(step.no):
            if branch.status == "open":
                self.aims.branches[branch.number] = branch
                self.todo.append((branch.number, self._body(step.no)))
            else:
                self._ended(branch)

    def _whole(self, no: int) -> None:
        """A container in which nothing goes on, with all that is in it."""
        if no in self.state.containers:
            self.aims.containers[no] = self.state.containers[no]
            for branch in self._branches(no):
                self._ended(replace(branch, status="aborted") if branch.status == "open" else branch)

    def _ended(self, branch: BranchAt) -> None:
        self.aims.branches[branch.number] = branch
        for member in self._body(branch.container):
            step = self.state.steps[self.plan.step_of(branch.number, member.no)]
            self.aims.kept[step.no] = step if step.ended else _closed(step)
            self._whole(step.no)

    def _branches(self, no: int) -> list[BranchAt]:
        return [branch for branch in self.branches.get(no, []) if branch.status != "stale"]

    def _body(self, no: int) -> tuple[PlanNode, ...]:
        return self.plan.members(no % len(self.plan.nodes))


def _closed(step: StepAt) -> StepAt:
    """A step that the state shows under way in what had ended: it was about to be closed."""
    told = StepState(status=StepStatus.SKIPPED, attempt=step.told.attempt, live_in=step.told.live_in)
    return replace(step, told=told)
