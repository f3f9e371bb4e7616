"""Answers that come from outside for parked steps: taken as a handler's outcome is, once, and never too early."""

from datetime import timedelta
from typing import Any

import pytest

from models.database import Database
from models.errors import ErrorCode
from orchestrator.core.effects import Effect
from orchestrator.core.outcome import Failed, StepError, Succeeded, Usage
from orchestrator.services import runs, sweeps, waking
from orchestrator.settings import Settings
from tests.support import attempts
from tests.support.engine import Engine
from tests.support.histories import execute
from tests.support.probes import NAME, Clock, ends, probe, publish
from tests.support.soundness import assert_run_sound

PARKS = {"wait": "an answer"}
BROKE = Failed(error=StepError.of(ErrorCode.TOOL_FAILED, "it broke", details={"class": "X"}, transient=True))


def parked(database: Database, *after: dict[str, Any], **fields: Any) -> tuple[Engine, str]:
    """A run whose step `a` is parked at its first attempt."""
    own = {name: fields.pop(name) for name in list(fields) if name not in ("budget", "clock", "settings")}
    edges = own.pop("edges", ())
    ours = publish(database, probe("a", PARKS, **own), *after, edges=edges, **fields)
    run_id = ours.run(NAME)
    assert ours.statuses(run_id)["a"] == "waiting"
    return ours, run_id


def settle(
    ours: Engine, run_id: str, outcome: Succeeded | Failed, attempt: int = 1, no: int = 0
) -> tuple[Effect, ...]:
    effects = waking.settle(ours.deps, run_id, no, attempt, outcome)
    ours.send(effects)
    return effects


def error(ours: Engine, run_id: str) -> Any:
    return ours.row(run_id).error


def test_a_success_carries_its_output_on(database: Database) -> None:
    ours, run_id = parked(database, probe("b", output="{{a.n}}"), edges=["a >> b"])
    settle(ours, run_id, Succeeded(output={"n": 7}, usage=Usage(model="m")))
    ends(ours, run_id, "success")
    (attempt,) = attempts.attempts(ours, run_id, "a")
    assert (attempt.status, attempt.output, attempt.model) == ("success", {"n": 7}, "m")
    assert attempts.attempts(ours, run_id, "b")[0].output == 7


def test_an_answer_moves_its_step_once(database: Database) -> None:
    ours, run_id = parked(database, probe("b"), edges=["a >> b"])
    assert settle(ours, run_id, Succeeded(output=1)) != ()
    assert settle(ours, run_id, BROKE) == ()
    ends(ours, run_id, "success")
    assert [message.path for wave in ours.waves for message in wave.messages] == ["a", "b"]


def test_an_answer_before_the_step_is_parked_moves_nothing(database: Database) -> None:
    ours = publish(database, probe("a", PARKS))
    run_id = ours.start(NAME)
    claimed = attempts.take(ours, "a")
    assert settle(ours, run_id, Succeeded(output=1)) == ()
    assert attempts.attempts(ours, run_id, "a")[0].status == "running"
    attempts.end(ours, claimed)
    settle(ours, run_id, Succeeded(output=1))
    ends(ours, run_id, "success")


@pytest.mark.parametrize(("no", "attempt"), [(0, 2), (5, 1)])
def test_an_answer_for_what_is_not_there_moves_nothing(database: Database, no: int, attempt: int) -> None:
    ours, run_id = parked(database)
    assert settle(ours, run_id, Succeeded(output=1), attempt, no) == ()
    assert waking.settle(ours.deps, "00000000-0000-7000-8000-000000000000", no, attempt, BROKE) == ()
    assert ours.statuses(run_id) == {"a": "waiting"}


def test_a_failure_is_retried_as_the_policy_says(database: Database) -> None:
    clock = Clock()
    ours, run_id = parked(
        database, clock=clock, retry={"max_attempts": 2, "initial": 3, "jitter": 0, "policy": "on_failure"}
    )
    settle(ours, run_id, BROKE)
    assert ours.statuses(run_id) == {"a": "retrying"}
    clock.now += 3
    ours.sweep()
    ours.drain()
    assert settle(ours, run_id, BROKE, attempt=1) == ()
    settle(ours, run_id, BROKE, attempt=2)
    ends(ours, run_id, "failed")
    assert error(ours, run_id) == {
        "code": "TOOL_FAILED",
        "message": "it broke",
        "step": "a",
        "details": {"class": "X"},
    }
    assert [found.status for found in attempts.attempts(ours, run_id, "a")] == ["failed", "failed"]


def test_a_failure_leaves_by_the_error_port(database: Database) -> None:
    takes = probe("b", output="{{a.error.details}}")
    ours, run_id = parked(database, takes, edges=[{"from": "a", "to": "b", "handle": "error"}])
    settle(ours, run_id, BROKE)
    ends(ours, run_id, "success")
    assert attempts.attempts(ours, run_id, "b")[0].output == {"class": "X"}


def test_conditions_of_edges_see_the_answer(database: Database) -> None:
    when = [{"from": "a", "to": "b", "when": "a.n > 5"}, {"from": "a", "to": "c", "handle": "else"}]
    ours, run_id = parked(database, probe("b"), probe("c"), edges=when)
    settle(ours, run_id, Succeeded(output={"n": 3}))
    ends(ours, run_id, "success")
    assert ours.statuses(run_id) == {"a": "success", "b": "skipped", "c": "success"}


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("\x00", "VALIDATION"),
        (float("nan"), "VALIDATION"),
        ("x" * 300, "OUTPUT_TOO_LARGE"),
        ({1}, "VALIDATION"),
    ],
)
def test_an_answer_that_cannot_be_taken_fails_the_step(database: Database, output: Any, code: str) -> None:
    ours, run_id = parked(database, max_output_bytes=256)
    settle(ours, run_id, Succeeded(output=output))
    ends(ours, run_id, "failed")
    assert error(ours, run_id)["code"] == code


def test_an_answer_is_stored_without_secrets(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "canary-5f1d0c")
    ours, run_id = parked(database, settings=Settings(env_allow=("TOKEN",)))
    settle(ours, run_id, Succeeded(output="a canary-5f1d0c b"))
    ends(ours, run_id, "success")
    assert attempts.attempts(ours, run_id, "a")[0].output == "a *** b"


def test_a_parked_step_keeps_what_it_reserved(database: Database) -> None:
    budget = {"limit_cents": 10, "on_exceeded": "abort"}
    ours, run_id = parked(
        database, probe("b", estimated_cost_cents=6), estimated_cost_cents=4, budget=budget, edges=["a >> b"]
    )
    assert_run_sound(ours.deps, run_id)
    settle(ours, run_id, Succeeded(output=1))
    ends(ours, run_id, "success")
    assert attempts.attempts(ours, run_id, "a")[0].cost_microcents == 4_000_000


def test_what_an_aborted_wait_had_reserved_goes_back(database: Database) -> None:
    ours, run_id = parked(database, estimated_cost_cents=4, budget={"limit_cents": 10})
    ours.send(runs.abort(ours.deps, ours.actor, run_id, "enough"))
    ends(ours, run_id, "aborted")
    assert settle(ours, run_id, Succeeded(output=1)) == ()
    assert_run_sound(ours.deps, run_id)
    assert attempts.attempts(ours, run_id, "a")[0].status == "fenced"


def outrun(ours: Engine, run_id: str) -> None:
    """The timeout of the run's parked attempt is long over; the sweep looks."""
    execute(ours, "UPDATE step SET timeout_at = :at WHERE status = 'waiting'", at=attempts.long_ago(ours))
    ours.send(sweeps.run(ours.deps, "timeouts").effects)


def test_the_timeout_of_a_parked_attempt_ends_it(database: Database) -> None:
    clock = Clock()
    retry = {"max_attempts": 2, "initial": 1, "jitter": 0, "policy": "on_transient_error"}
    ours, run_id = parked(database, clock=clock, timeout="5m", retry=retry)
    assert attempts.step(ours, run_id, "a").timeout_at is not None
    outrun(ours, run_id)
    assert ours.statuses(run_id) == {"a": "retrying"}
    clock.now += 1
    ours.sweep()
    ours.drain()
    assert settle(ours, run_id, Succeeded(output="of the first"), attempt=1) == ()
    settle(ours, run_id, Succeeded(output="of the second"), attempt=2)
    ends(ours, run_id, "success")
    assert [a.status for a in attempts.attempts(ours, run_id, "a")] == ["failed", "success"]
    assert attempts.attempts(ours, run_id, "a")[0].error["code"] == "TIMEOUT"


def test_the_timeout_of_a_parked_attempt_stands_still_in_a_paused_run(database: Database) -> None:
    ours, run_id = parked(database, timeout="5m")
    before = attempts.step(ours, run_id, "a").timeout_at
    runs.pause(ours.deps, ours.actor, run_id, "lunch")
    runs.resume(ours.deps, ours.actor, run_id)
    after = attempts.step(ours, run_id, "a").timeout_at
    assert before is not None
    assert after is not None
    assert timedelta(0) < after - before < timedelta(minutes=1)
    runs.pause(ours.deps, ours.actor, run_id, "lunch")
    outrun(ours, run_id)
    assert ours.statuses(run_id) == {"a": "waiting"}


def test_an_answer_is_taken_in_a_paused_run(database: Database) -> None:
    ours, run_id = parked(database, probe("b"), edges=["a >> b"])
    runs.pause(ours.deps, ours.actor, run_id, "lunch")
    assert settle(ours, run_id, Succeeded(output=1)) == ()
    assert ours.statuses(run_id) == {"a": "success", "b": "queued"}
    ours.send(runs.resume(ours.deps, ours.actor, run_id))
    ends(ours, run_id, "success")


def test_a_wait_that_costs_nothing_gives_its_reservation_back(database: Database) -> None:
    asks = probe("a", {"pause": "asks"}, estimated_cost_cents=4)
    ours = publish(database, asks, budget={"limit_cents": 10})
    run_id = ours.run(NAME)
    assert_run_sound(ours.deps, run_id)
    ours.send(runs.resume(ours.deps, ours.actor, run_id, {"n": 1}))
    ends(ours, run_id, "success")
