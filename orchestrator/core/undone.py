"""What a state holds that was undone, by then or since: nothing can be built on it, so it is done anew. Pure.

Source: spec "engine", Compensation and Checkpoints.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from models.states import StepStatus
from orchestrator.core.plan import Plan
from orchestrator.core.rebuild import State, StepAt
from orchestrator.core.replay import Logged


def undone(plan: Plan, log: Iterable[Logged], state: State) -> frozenset[int]:
    """The run's own steps that were undone, or that hold such a step in their bodies, by the whole `log`.

    A step that could not be undone is one of them, as it may be undone in part.
    """
    work = _Work()
    for event in log:
        work.take(event)
    return frozenset(
        plan.outermost(no)
        for no, step in state.steps.items()
        if not _is_stale(plan, state, no) and work.is_undone(step)
    )


@dataclass(slots=True)
class _Work:
    """What attempts have done: `copies` by path and number, with the attempt whose work it is; what was undone."""

    copies: dict[tuple[str, int], int] = field(default_factory=dict)
    undone: set[tuple[str, int]] = field(default_factory=set)

    def take(self, event: Logged) -> None:
        if event.step is None:
            return
        if event.type == "step.compensating":
            self.undone.add(self._of(event.step, event.data["undoes"]))
        elif "copied" in event.data and event.data["copied"] < event.data["attempt"]:
            # that of a fork is its origin's number, and never less than its own, the first
            _, number = self._of(event.step, event.data["copied"])
            self.copies[event.step, event.data["attempt"]] = number

    def is_undone(self, step: StepAt) -> bool:
        if step.outcome is not step.status:
            return True
        return step.status is StepStatus.SUCCESS and self._of(step.path, step.told.attempt) in self.undone

    def _of(self, path: str, attempt: int) -> tuple[str, int]:
        return path, self.copies.get((path, attempt), attempt)


def _is_stale(plan: Plan, state: State, no: int) -> bool:
    branch = plan.branch(no)
    return branch in state.branches and state.branches[branch].status == "stale"
