"""A run's state as its events up to some number tell it: steps, counters, containers, branches, variables. Pure.

Outputs are no part of it: they are kept for each attempt, and the state names the attempt that counts. Steps that
are in no plan are left out. Source: spec "engine", Checkpoints.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from models.states import STEP_TERMINAL, RunStatus, StepStatus
from orchestrator.core.compensations import SUFFIX
from orchestrator.core.containers_told import Branched, Containers
from orchestrator.core.plan import Plan, PlanNode
from orchestrator.core.replay import STEP_EVENTS, Logged, Replayed, StepState, replay

_UNDOING = ("step.compensating", "step.compensated", "step.compensation_failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepAt:
    """A step in a state. undecided, live: what the decisions of its sources come to.

    seq: the event that moved it last, 0 where none did. told: that event's data. rerun: the N of `:rN` at its
    last reset, 0 where it keeps its key. outcome: its status, or where undoing has moved it, that before.
    """

    no: int
    path: str
    told: StepState
    undecided: int
    live: int
    seq: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)
    rerun: int = 0
    outcome: StepStatus

    @property
    def status(self) -> StepStatus:
        return self.told.status

    @property
    def ended(self) -> bool:
        return self.told.status in STEP_TERMINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerAt:
    """The counters of a container, by its step's number."""

    no: int
    path: str
    total: int | None
    opened: int
    ended: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchAt:
    """A branch, with the number of its container's step; `error`: the first failure that no edge took."""

    number: int
    container: int
    position: int
    status: str
    open_steps: int
    error: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A run as its events tell it. Steps and containers by number of the step, branches by their own.

    seq: the number of the last event. replayed: the same by path, with every change on the way.
    """

    seq: int
    status: RunStatus | None
    steps: Mapping[int, StepAt]
    containers: Mapping[int, ContainerAt]
    branches: Mapping[int, BranchAt]
    variables: Mapping[str, Any]
    replayed: Replayed

    @property
    def open_steps(self) -> int:
        undoing = (step for path, step in self.replayed.steps.items() if path.endswith(SUFFIX))
        return sum(step.status not in STEP_TERMINAL for step in (*(s.told for s in self.steps.values()), *undoing))


def rebuild(plan: Plan, events: Iterable[Logged]) -> State:
    """The state after `events`, which are given in order from the first on."""
    log = list(events)
    told = replay(log, [node.id for node in plan.members(None)], lambda path: bodies(plan, path))
    seen = _Seen()
    for event in log:
        seen.take(event)
    numbers = dict(_numbers(plan, told, seen.containers))
    edges = {no: told.steps[path].edges for path, no in numbers.items()}
    steps = {no: _step(plan, no, path, told, edges, seen) for path, no in numbers.items()}
    return State(
        seq=log[-1].seq if log else 0,
        status=told.status,
        steps=steps,
        containers=dict(_containers(numbers, seen.containers)),
        branches=dict(_branches(plan, numbers, steps, seen)),
        variables=told.variables,
        replayed=told,
    )


def bodies(plan: Plan, path: str) -> list[str]:
    """The ids of the nodes in the body of the container at a path."""
    place = plan.place_of(path)
    return [] if place is None else [node.id for node in plan.members(place)]


@dataclass(slots=True)
class _Seen:
    """What is not in the replayed state: of each step its last move, failure and reset, and what it was before it
    was undone."""

    containers: Containers = field(default_factory=Containers)
    last: dict[str, tuple[int, Mapping[str, Any]]] = field(default_factory=dict)
    failures: dict[str, tuple[int, Any]] = field(default_factory=dict)
    reruns: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, StepStatus] = field(default_factory=dict)

    def take(self, event: Logged) -> None:
        self.containers.take(event)
        if event.step is None or not event.type.startswith("step."):
            return
        self.last[event.step] = (event.seq, event.data)
        if event.type in STEP_EVENTS and event.type not in _UNDOING:
            self.outcomes[event.step] = STEP_EVENTS[event.type]
        if event.type == "step.failed":
            self.failures[event.step] = (event.seq, event.data.get("error"))
        if event.type == "step.reset" and event.data.get("rerun"):
            self.reruns[event.step] = event.data["rerun"]


def _numbers(plan: Plan, told: Replayed, containers: Containers) -> Iterator[tuple[str, int]]:
    for path in told.steps:
        place = plan.place_of(path)
        around = path.rpartition("/")[0]
        branch = containers.branches.get(around)
        if place is None or (around and branch is None) or path.endswith("]"):
            continue
        yield path, plan.step_of(0 if branch is None else branch.number, place)


def _step(
    plan: Plan, no: int, path: str, told: Replayed, edges: Mapping[int, str | None], seen: _Seen
) -> StepAt:
    state, node = told.steps[path], plan.at(no)
    found = [edges.get(edge.source) for edge in node.ins]
    lives = [
        at
        for at, (edge, digits) in enumerate(zip(node.ins, found, strict=True))
        if digits is not None and digits[edge.index : edge.index + 1] == "1"
    ]
    if state.status is StepStatus.PENDING:
        kept = ",".join(map(str, lives)) if node.need is not None and lives else None
        state = replace(state, live_in=kept)
    seq, data = seen.last.get(path, (0, {}))
    return StepAt(
        no=no,
        path=path,
        told=state,
        undecided=sum(digits is None for digits in found),
        live=len(lives),
        seq=seq,
        data=data,
        rerun=seen.reruns.get(path, 0),
        outcome=seen.outcomes.get(path, state.status),
    )


def _containers(numbers: Mapping[str, int], containers: Containers) -> Iterator[tuple[int, ContainerAt]]:
    for path, row in containers.opened.items():
        no = numbers.get(path)
        if no is None:
            continue
        yield (
            no,
            ContainerAt(
                no=no, path=path, total=row.total, opened=row.opened, ended=row.ended, failed=row.failed
            ),
        )


def _branches(
    plan: Plan, numbers: Mapping[str, int], steps: Mapping[int, StepAt], seen: _Seen
) -> Iterator[tuple[int, BranchAt]]:
    for branch in seen.containers.branches.values():
        if branch.container not in numbers:
            continue
        place = numbers[branch.container] % len(plan.nodes)
        own = [steps[plan.step_of(branch.number, node.no)] for node in plan.members(place)]
        yield (
            branch.number,
            BranchAt(
                number=branch.number,
                container=numbers[branch.container],
                position=branch.position,
                status=branch.status,
                open_steps=sum(step.outcome not in STEP_TERMINAL for step in own),
                error=_error(plan, branch, own, seen),
            ),
        )


def _error(plan: Plan, branch: Branched, own: list[StepAt], seen: _Seen) -> Any:
    """A branch's failure: the first of its steps' that stand, undone or not, or else that of `collect`."""
    if branch.status == "stale":
        return None
    failed = [step for step in own if fails(plan.at(step.no), step)]
    if not failed:
        return branch.error
    first = min(failed, key=lambda step: seen.failures[step.path][0])
    return branch_failure(seen.failures[first.path][1], first.path)


def fails(node: PlanNode, step: StepAt) -> bool:
    """Whether a step has failed, and no edge takes it."""
    return step.outcome is StepStatus.FAILED and not node.error_port


def branch_failure(error: Any, path: str) -> dict[str, Any]:
    """A step's failure as that of its branch."""
    found = {key: (error or {}).get(key) for key in ("code", "message", "details")}
    return found | {"step": path, "transient": (error or {}).get("transient", False)}
