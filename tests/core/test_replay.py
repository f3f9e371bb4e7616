"""The fold of a run's events: states, counters, variables, and moves that no table allows."""

from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest

from models.states import RUN_MOVES, STEP_MOVES, RunStatus, StepStatus
from orchestrator.core.replay import RUN_EVENTS, STEP_EVENTS, StepState, replay


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    seq: int
    type: str
    step: str | None = None
    data: Any = field(default_factory=dict)


def log(*events: tuple[Any, ...]) -> list[Logged]:
    return [
        Logged(seq=seq, type=type_, step=rest[0] if rest else None, data=rest[1] if len(rest) > 1 else {})
        for seq, (type_, *rest) in enumerate(events, 1)
    ]


def at(attempt: int, tries: int, losses: int = 0, **more: Any) -> dict[str, Any]:
    return {"attempt": attempt, "tries": tries, "losses": losses} | more


def test_a_run_from_its_events() -> None:
    told = replay(
        log(
            ("run.created", None, {"variables": {"a": 1, "b": 2}}),
            ("run.started",),
            ("step.queued", "x", at(0, 0)),
            ("step.started", "x", at(1, 0)),
            ("step.lease_expired", None, {"step": "x", "attempt": 1}),
            ("step.queued", "x", at(1, 0, 1)),
            ("step.started", "x", at(2, 0, 1)),
            ("step.retrying", "x", at(2, 1, 0, due_at=5.0)),
            ("step.queued", "x", at(2, 1)),
            ("step.started", "x", at(3, 1)),
            ("step.completed", "x", at(3, 2, edges="10", route="hot")),
            ("variable.set", "x", {"key": "b", "value": [3]}),
            ("step.skipped", "y", at(0, 0, edges="")),
            ("run.paused",),
        ),
        ["x", "y", "z"],
    )
    assert told.status is RunStatus.PAUSED
    assert told.variables == {"a": 1, "b": [3]}
    assert told.illegal == ()
    assert told.steps == {
        "x": StepState(status=StepStatus.SUCCESS, attempt=3, tries=2, route="hot", edges="10"),
        "y": StepState(status=StepStatus.SKIPPED, edges=""),
        "z": StepState(),
    }
    assert [(change.seq, change.path) for change in told.changes][-2:] == [(11, "x"), (13, "y")]


def test_no_events_tell_nothing() -> None:
    told = replay([], ["x"])
    assert (told.status, told.variables, told.steps) == (None, {}, {"x": StepState()})


def test_a_reset_forgets_the_decision() -> None:
    told = replay(
        log(("step.completed", "x", at(1, 1, edges="1", route="r")), ("step.reset", "x", at(1, 1))), ["x"]
    )
    assert told.steps["x"] == StepState(attempt=1, tries=1)


def test_a_fence_that_falls_is_told() -> None:
    told = replay(log(("step.started", "x", at(4, 0)), ("step.completed", "x", at(3, 1))))
    assert told.illegal == ((2, "the fence of step x falls to 3"),)


# The event that brings a step or run to each state, and a way there that the tables allow.
STEPS = {status: type_ for type_, status in STEP_EVENTS.items()}
RUNS = {status: type_ for type_, status in RUN_EVENTS.items() if type_ not in ("run.resumed", "run.reopened")}
TO_STEP = {
    StepStatus.PENDING: (),
    StepStatus.RETRYING: (StepStatus.RUNNING,),
    StepStatus.ABORTED: (StepStatus.QUEUED,),
    StepStatus.COMPENSATING: (StepStatus.SUCCESS,),
    StepStatus.COMPENSATED: (StepStatus.SUCCESS, StepStatus.COMPENSATING),
}
TO_RUN = {
    RunStatus.PENDING: (),
    RunStatus.RUNNING: (),
    RunStatus.COMPENSATED: (RunStatus.RUNNING, RunStatus.COMPENSATING),
}


@pytest.mark.parametrize(("source", "target"), list(product(StepStatus, StepStatus)))
def test_every_pair_of_step_states(source: StepStatus, target: StepStatus) -> None:
    way = [*TO_STEP.get(source, ()), *([] if source is StepStatus.PENDING else [source]), target]
    told = replay(log(*((STEPS[status], "x") for status in way)))
    assert told.steps["x"].status is target
    assert [seq for seq, _ in told.illegal] == ([] if target in STEP_MOVES[source] else [len(way)])


@pytest.mark.parametrize(("source", "target"), list(product(RunStatus, RunStatus)))
def test_every_pair_of_run_states(source: RunStatus, target: RunStatus) -> None:
    between = TO_RUN.get(source, (RunStatus.RUNNING,))
    way = [RunStatus.PENDING, *between, *([] if source is RunStatus.PENDING else [source]), target]
    told = replay(log(*((RUNS[status],) for status in way)))
    assert told.status is target
    # A run is created once: no move leads back to pending.
    assert [seq for seq, _ in told.illegal] == ([] if target in RUN_MOVES[source] else [len(way)])
