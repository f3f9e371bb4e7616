"""What the checks of invariants work on: a run's rows, its plan, and what its events tell."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from models.branch import Branch
from models.queries.invariants import RunRows
from models.step import Attempt, Step
from orchestrator.core.compensations import SUFFIX
from orchestrator.core.plan import Plan
from orchestrator.core.rebuild import State, rebuild
from orchestrator.core.replay import Replayed

INVARIANTS: Mapping[int, str] = {
    1: "a terminal run has only terminal steps, a run of terminal steps is terminal or compensating",
    2: "every transition has exactly one event, and the run's events have no gap",
    3: "no step started before its join was met, and the counters of joins agree with the decided edges",
    4: "a success has exactly one winning attempt, and no step has two",
    5: "at every reservation spent + reserved ≤ limit, reserved is 0 at the end, costs add up",
    6: "compensations run in the exact reverse order of completion",
    7: "run events are never updated or deleted",
    8: "what the events tell is what the rows say",
    9: "a terminal run leaves no lease, timer or outbox entry behind",
    10: "every step's input is what chaining gives from the stored outputs and in-edges",
    11: "each success has a start with the same fence before it",
    12: "after a run's end come only events of compensation and audit",
    13: "each effect key belongs to one step",
    14: "a version's hash is that of its definition",
    15: "no lease, timer, outbox entry or unsent step is overdue by more than 30 s",
    16: "workspaces agree along workflow, version, run and labels",
    17: "branches and containers count what there is, within their bounds",
    18: "an approval is decided once and never after its time, a signal is taken once, and steps do as was said",
}
STALE = "stale"  # a branch that its container, opened anew, does not use
# Reliability §5's "one run per (workspace, idempotency key)" is a primary key and cannot be broken by rows.


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A broken invariant: its number in INVARIANTS, where, and what was found. `run_id` None: the database."""

    invariant: int
    run_id: str | None
    message: str
    step: str | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run. `virtual_now`: the clock that retries, timers and the run's timeout follow; `real`: how many
    real seconds a span of it takes."""

    rows: RunRows
    plan: Plan
    virtual_now: float
    real: Callable[[float], float]

    @cached_property
    def state(self) -> State:
        return rebuild(self.plan, self.rows.events)

    @property
    def told(self) -> Replayed:
        return self.state.replayed

    @cached_property
    def whole(self) -> bool:
        """Whether the rows are the plan's steps, those of branches too; what reads both stands on it, and 8 says
        when they are not."""
        expected = {node.no: node.id for node in self.plan.members(None)}
        for branch in sorted(self.rows.branches, key=lambda branch: branch.number):
            around = f"{expected.get(branch.container)}[{branch.position}]/"
            for node in self.plan.members(branch.container % len(self.plan.nodes)):
                expected[self.plan.step_of(branch.number, node.no)] = around + node.id
        return {step.no: step.path for step in self.rows.steps if not self.undoes(step)} == expected

    def undoes(self, step: Step) -> bool:
        """Whether a step is a compensation, which is there once it has begun."""
        return self.plan.at(step.no).undoes is not None

    @cached_property
    def steps(self) -> Mapping[int, Step]:
        return {step.no: step for step in self.rows.steps}

    @cached_property
    def by_path(self) -> Mapping[str, Step]:
        return {step.path: step for step in self.rows.steps}

    @cached_property
    def attempts(self) -> Mapping[tuple[int, int], Attempt]:
        """Attempts by step number and their own."""
        return {(attempt.no, attempt.number): attempt for attempt in self.rows.attempts}

    @cached_property
    def reset_at(self) -> Mapping[str, int]:
        """The attempt at which each step was last reset, by path: what its attempts up to then were given, and
        gave, is of a history that was taken back."""
        changes = self.told.changes
        return {change.path: change.after.attempt for change in changes if change.after.status == "pending"}

    def is_degraded(self, step: Step) -> bool:
        """Whether a step's success stands in for a failure."""
        attempt = self.attempts.get((step.no, step.attempt))
        return attempt is not None and attempt.status == "success" and attempt.error is not None

    def is_since_reset(self, attempt: Attempt) -> bool:
        """Whether an attempt began after its step was last reset."""
        step = self.steps.get(attempt.no)
        return step is None or attempt.number > self.reset_at.get(step.path, 0)

    def _undid_earlier(self, attempt: Attempt) -> bool:
        """Whether it undid what has been done anew since."""
        step = self.steps.get(attempt.no)
        if step is None or not self.undoes(step):
            return False
        return self._moved_at.get(step.path, 0) < self._taken_back_at.get(step.path.removesuffix(SUFFIX), 0)

    @cached_property
    def _moved_at(self) -> Mapping[str, int]:
        return {change.path: change.seq for change in self.told.changes}

    @cached_property
    def _taken_back_at(self) -> Mapping[str, int]:
        return {change.path: change.seq for change in self.told.changes if change.after.status == "pending"}

    def is_current(self, attempt: Attempt) -> bool:
        """Whether an attempt is one of the history that stands."""
        if not self.is_since_reset(attempt) or self._undid_earlier(attempt):
            return False
        branch = self.plan.branch(attempt.no)
        while branch:
            row = self._branches[branch]
            if row.status == STALE:
                return False
            branch = self.plan.branch(row.container)
        return True

    @cached_property
    def _branches(self) -> Mapping[int, Branch]:
        return {branch.number: branch for branch in self.rows.branches}

    def broken(self, invariant: int, message: str, step: str | None = None) -> Violation:
        return Violation(invariant=invariant, run_id=self.rows.run.id, message=message, step=step)


Check = Callable[[Record], Iterator[Violation]]
