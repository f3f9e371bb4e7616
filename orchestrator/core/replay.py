"""Fold a run's events into what its rows must say. Pure; the log alone is the source.

Source: spec "engine", Checkpoints and invariant 8; the data of events as the transition statement writes it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from models.states import RUN_MOVES, STEP_MOVES, RunStatus, StepStatus

RUN_EVENTS: Mapping[str, RunStatus] = {
    "run.created": RunStatus.PENDING,
    "run.started": RunStatus.RUNNING,
    "run.paused": RunStatus.PAUSED,
    "run.resumed": RunStatus.RUNNING,
    "run.reopened": RunStatus.RUNNING,
    "run.completed": RunStatus.SUCCESS,
    "run.failed": RunStatus.FAILED,
    "run.aborted": RunStatus.ABORTED,
    "run.compensating": RunStatus.COMPENSATING,
    "run.compensated": RunStatus.COMPENSATED,
}
STEP_EVENTS: Mapping[str, StepStatus] = {
    "step.reset": StepStatus.PENDING,
    "step.queued": StepStatus.QUEUED,
    "step.started": StepStatus.RUNNING,
    "step.waiting": StepStatus.WAITING,
    "step.resumed": StepStatus.RUNNING,
    "step.retrying": StepStatus.RETRYING,
    "step.completed": StepStatus.SUCCESS,
    "step.failed": StepStatus.FAILED,
    "step.skipped": StepStatus.SKIPPED,
    "step.aborted": StepStatus.ABORTED,
    "step.compensating": StepStatus.COMPENSATING,
    "step.compensated": StepStatus.COMPENSATED,
    "step.compensation_failed": StepStatus.FAILED,
}


class Logged(Protocol):
    """An event as stored: `seq` from 1, `step` the path of a step's event, `data` JSON."""

    @property
    def seq(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def step(self) -> str | None: ...
    @property
    def data(self) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """Where a step stands. `edges`: a digit for each out-edge in plan order, once it is decided; `live_in`: the
    in-edges that it started with, where its join starts before all are decided, or where sources of it were done
    again and it was not. `degraded`: it succeeded in spite of a failure."""

    status: StepStatus = StepStatus.PENDING
    attempt: int = 0
    tries: int = 0
    losses: int = 0
    route: str | None = None
    edges: str | None = None
    degraded: bool = False
    live_in: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One move of one step: what it was, what it is, and the number of the event that says so."""

    seq: int
    path: str
    before: StepState
    after: StepState


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A run as its events tell it. `illegal`: (seq, sentence) of each move that the tables do not allow."""

    status: RunStatus | None
    steps: Mapping[str, StepState]
    variables: Mapping[str, Any]
    changes: tuple[Change, ...]
    illegal: tuple[tuple[int, str], ...]


def _no_body(_path: str) -> Sequence[str]:
    return ()


@dataclass(slots=True)
class _Fold:
    body: Callable[[str], Sequence[str]]
    status: RunStatus | None = None
    steps: dict[str, StepState] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    illegal: list[tuple[int, str]] = field(default_factory=list)

    def take(self, event: Logged) -> None:
        if event.type == "run.created":
            self.variables.update(event.data.get("variables") or {})
        if event.type in RUN_EVENTS:
            self._move_run(event.seq, RUN_EVENTS[event.type])
        elif event.type in STEP_EVENTS and event.step is not None:
            self._move_step(event.seq, event.step, STEP_EVENTS[event.type], event.data)
        elif event.type == "branch.started" and event.step is not None:
            self._open(event.step, event.data["position"], event.data["count"])
        elif event.type == "branch.reopened" and event.step is not None:
            self._keep(f"{event.step}[{event.data['position']}]", event.data.get("given") or {})
        elif event.type == "variable.set":
            self.variables[event.data["key"]] = event.data["value"]
        elif event.type == "checkpoint.restored":
            self.variables = dict(event.data["variables"])

    def _open(self, path: str, first: int, count: int) -> None:
        for position in range(first, first + count):
            for node in self.body(path):
                self.steps.setdefault(f"{path}[{position}]/{node}", StepState())

    def _keep(self, prefix: str, given: Mapping[str, str]) -> None:
        """Steps of a branch stay, with the in-edges that their input is made of."""
        for node, live_in in given.items():
            path = f"{prefix}/{node}"
            self.steps[path] = replace(self.steps.get(path, StepState()), live_in=live_in)

    def _move_run(self, seq: int, to: RunStatus) -> None:
        if to not in (RUN_MOVES[self.status] if self.status else (RunStatus.PENDING,)):
            self.illegal.append((seq, f"the run goes from {self.status or 'nothing'} to {to}"))
        self.status = to

    def _move_step(self, seq: int, path: str, to: StepStatus, data: Mapping[str, Any]) -> None:
        before = self.steps.get(path, StepState())
        after = replace(
            before,
            status=to,
            attempt=data.get("attempt", before.attempt),
            tries=data.get("tries", before.tries),
            losses=data.get("losses", before.losses),
            route=data.get("route", before.route),
            edges=data.get("edges", before.edges),
            degraded=to is StepStatus.SUCCESS and bool(data.get("degraded")),
            live_in=data.get("live_in", before.live_in),
        )
        if to is StepStatus.PENDING:
            after = replace(after, route=None, edges=None, live_in=None, tries=data.get("tries", 0))
        if to not in STEP_MOVES[before.status]:
            self.illegal.append((seq, f"step {path} goes from {before.status} to {to}"))
        if after.attempt < before.attempt:
            self.illegal.append((seq, f"the fence of step {path} falls to {after.attempt}"))
        self.steps[path] = after
        self.changes.append(Change(seq=seq, path=path, before=before, after=after))


def replay(
    events: Iterable[Logged],
    paths: Iterable[str] = (),
    body: Callable[[str], Sequence[str]] = _no_body,
) -> Replayed:
    """The state after `events`, given in order; `paths` are the steps that the run began with, all pending.

    `body` gives the ids of the nodes in the body of the container at a path. Types that move nothing pass; a
    step that is not in `paths` begins pending at its first event.
    """
    fold = _Fold(body=body, steps={path: StepState() for path in paths})
    for event in events:
        fold.take(event)
    return Replayed(
        status=fold.status,
        steps=fold.steps,
        variables=fold.variables,
        changes=tuple(fold.changes),
        illegal=tuple(fold.illegal),
    )
