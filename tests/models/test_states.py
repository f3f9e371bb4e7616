"""The tables of legal moves are the specification's sentences; every other pair is refused."""

import re
from itertools import product

import pytest

from models.states import (
    DELIVERY_MOVES,
    RUN_MOVES,
    RUN_TERMINAL,
    STEP_MOVES,
    STEP_TERMINAL,
    DeliveryStatus,
    RunStatus,
    StepStatus,
    delivery_sources,
    run_sources,
    step_sources,
)

# The sentences of the specification, with each "by an operator" clause after the engine's own moves, and what undoing
# again, and undoing what succeeds late, adds to them (docs/decisions/0033-compensations.md).
RUN = (
    "pending → running | aborted | failed; running ⇄ paused;"
    "running | paused → success | failed | aborted | compensating; compensating → compensated | failed;"
    "success | failed | aborted | compensated → running; success | failed | aborted → compensating;"
    "compensated → compensating"
)
STEP = (
    "pending → queued | running | waiting | success | failed | skipped;"
    "queued → running | waiting | failed | skipped | aborted;"
    "running → success | failed | waiting | retrying | queued | aborted;"
    "waiting → running | success | failed | retrying | aborted | skipped;"
    "retrying → queued | skipped | aborted | failed; success → compensating;"
    "compensating → compensated | failed;"
    "failed → queued | success | skipped; success | failed | skipped | aborted | compensated → pending;"
    "failed | skipped | aborted → compensating"
)

DELIVERY = (
    "pending → sending | stopped; sending → pending | delivered | dead | stopped;"
    "delivered | dead | stopped → pending"
)


def moves(sentences: str) -> set[tuple[str, str]]:
    found = set()
    for sentence in sentences.split(";"):
        before, arrow, after = re.split(r"([→⇄])", sentence)
        pairs = set(product(words(before), words(after)))
        found |= pairs | ({(b, a) for a, b in pairs} if arrow == "⇄" else set())
    return found


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split("|")]


@pytest.mark.parametrize("source", RunStatus)
@pytest.mark.parametrize("target", RunStatus)
def test_run_moves(source: RunStatus, target: RunStatus) -> None:
    legal = (source.value, target.value) in moves(RUN)
    assert (target in RUN_MOVES[source]) == legal
    assert (source in run_sources(target)) == legal


@pytest.mark.parametrize("source", DeliveryStatus)
@pytest.mark.parametrize("target", DeliveryStatus)
def test_delivery_moves(source: DeliveryStatus, target: DeliveryStatus) -> None:
    legal = (source.value, target.value) in moves(DELIVERY)
    assert (target in DELIVERY_MOVES[source]) == legal
    assert (source in delivery_sources(target)) == legal


@pytest.mark.parametrize("source", StepStatus)
@pytest.mark.parametrize("target", StepStatus)
def test_step_moves(source: StepStatus, target: StepStatus) -> None:
    legal = (source.value, target.value) in moves(STEP)
    assert (target in STEP_MOVES[source]) == legal
    assert (source in step_sources(target)) == legal


def test_sentences_name_every_state() -> None:
    assert {state for pair in moves(RUN) for state in pair} == {state.value for state in RunStatus}
    assert {state for pair in moves(STEP) for state in pair} == {state.value for state in StepStatus}


def test_terminal_states_are_left_by_operators_and_compensation_alone() -> None:
    for state in RUN_TERMINAL:
        assert RUN_MOVES[state] <= {RunStatus.RUNNING, RunStatus.COMPENSATING}
    for step in STEP_TERMINAL - {StepStatus.FAILED}:
        assert STEP_MOVES[step] <= {StepStatus.PENDING, StepStatus.COMPENSATING}
    assert set(RunStatus) - RUN_TERMINAL == {
        RunStatus.PENDING,
        RunStatus.RUNNING,
        RunStatus.PAUSED,
        RunStatus.COMPENSATING,
    }
    assert set(StepStatus) - STEP_TERMINAL == {
        StepStatus.PENDING,
        StepStatus.QUEUED,
        StepStatus.RUNNING,
        StepStatus.WAITING,
        StepStatus.RETRYING,
        StepStatus.COMPENSATING,
    }
