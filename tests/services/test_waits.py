"""Waits and pauses: days of virtual time, moments, and input that a schema checks."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from models.database import Database
from models.errors import ConflictError, InvalidError
from orchestrator.core.effects import Timer
from orchestrator.services import runs
from orchestrator.services.clock import VirtualClock
from tests.support import attempts, engine
from tests.support.engine import Engine
from tests.support.office import DAY, fire, swept
from tests.support.polling import poll
from tests.support.probes import Clock, ended, ends, probe, publish


def waits(**fields: Any) -> dict[str, Any]:
    return {"id": "wait", "type": "wait", **fields}


def output(ours: Engine, run_id: str, path: str = "wait") -> Any:
    return attempts.attempts(ours, run_id, path)[-1].output


def written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def test_a_wait_of_14_days_parks_and_goes_on_when_they_are_over(database: Database) -> None:
    clock = Clock()
    ours = publish(database, waits(duration="14d"), probe("after"), edges=["wait >> after"], clock=clock)
    run_id = ours.run("w")
    step = attempts.step(ours, run_id, "wait")
    assert (step.status, step.lease_until, ours.timers) == ("waiting", None, [])
    assert step.due_at == datetime.fromtimestamp(clock.now + 14 * DAY, UTC)
    clock.now += 14 * DAY - 1
    swept(ours)
    assert ours.statuses(run_id) == {"wait": "waiting", "after": "pending"}
    clock.now += 1
    swept(ours)
    assert output(ours, run_id) == {"waited": 14 * DAY}
    ends(ours, run_id, "success")


@pytest.mark.parametrize("given", [written, float])
def test_a_wait_until_a_moment(database: Database, given: Any) -> None:
    clock = Clock()
    ours = publish(database, waits(until="{{inputs.at}}"), clock=clock)
    run_id = ours.run("w", inputs={"at": given(clock.now + DAY)})
    clock.now += DAY
    swept(ours)
    assert output(ours, run_id) == {"waited": DAY}
    ends(ours, run_id, "success")


def test_a_moment_that_has_passed_is_no_wait(database: Database) -> None:
    clock = Clock()
    ours = publish(database, waits(until=written(clock.now - 1)), clock=clock)
    run_id = ended(ours)
    assert output(ours, run_id) == {"waited": 0}


def test_a_duration_may_come_from_data(database: Database) -> None:
    ours = publish(database, waits(duration="{{inputs.days}}d"), clock=(clock := Clock()))
    run_id = ours.run("w", inputs={"days": 2})
    clock.now += 2 * DAY
    swept(ours)
    assert output(ours, run_id) == {"waited": 2 * DAY}
    ends(ours, run_id, "success")


@pytest.mark.parametrize("fields", [{"duration": "soon"}, {"until": "noon"}, {"until": "2026-01-01T00:00:00"}])
def test_what_turns_out_to_be_no_time_fails_the_step(database: Database, fields: dict[str, str]) -> None:
    ours = publish(database, waits(**{name: f"{{{{inputs.{name}}}}}" for name in fields}))
    run_id = ended(ours, "failed", inputs=fields)
    assert ours.row(run_id).error["code"] == "VALIDATION"


def test_a_short_wait_is_a_timer_of_the_process(database: Database) -> None:
    ours = publish(database, waits(duration="50ms"), clock=(clock := Clock()))
    run_id = ours.run("w")
    (timer,) = ours.timers
    assert isinstance(timer, Timer)
    clock.now += 0.05
    fire(ours)
    ends(ours, run_id, "success")


def test_14_days_of_virtual_time_pass_in_a_moment(database: Database) -> None:
    fast = VirtualClock(origin=time.time(), start=1_700_000_000.0, speed=10_000_000.0)
    made = engine.make(database)
    ours = Engine(deps=replace(made.deps, clock=fast), actor=made.actor)
    ours.publish({"name": "w", "nodes": [waits(duration="14d")]})
    run_id = ours.run("w")

    def over() -> bool:
        swept(ours)
        return str(ours.row(run_id).status) == "success"

    poll(over, 30, "the end of the wait")
    ends(ours, run_id, "success")


def test_a_wait_ends_with_its_run(database: Database) -> None:
    ours = publish(database, waits(duration="1d"))
    run_id = ours.run("w")
    runs.abort(ours.deps, ours.actor, run_id, "enough")
    ends(ours, run_id, "aborted")


ASKED = {"type": "object", "required": ["amount"], "properties": {"amount": {"type": "integer"}}}


def test_a_pause_stops_the_run_until_it_is_given_what_it_expects(database: Database) -> None:
    pause = {"id": "pause", "type": "pause", "reason": "ask {{inputs.who}}", "expected_input": ASKED}
    ours = publish(database, pause, probe("beside"), probe("after"), edges=["[pause, beside] >> after"])
    run_id = ours.run("w", inputs={"who": "ada"})
    assert ours.row(run_id).status == "paused"
    paused = next(event for event in attempts.events(ours, run_id) if event.type == "run.paused")
    assert paused.data == {"reason": "ask ada"}
    for wrong in (None, {}, {"amount": "7"}):
        with pytest.raises(InvalidError) as refused:
            runs.resume(ours.deps, ours.actor, run_id, wrong)
        assert all(problem.pointer.startswith("/input") for problem in refused.value.problems)
    assert ours.row(run_id).status == "paused"
    ours.send(runs.resume(ours.deps, ours.actor, run_id, {"amount": 7}))
    ends(ours, run_id, "success")
    assert output(ours, run_id, "pause") == {"amount": 7}
    with pytest.raises(ConflictError):
        runs.resume(ours.deps, ours.actor, run_id, {"amount": 7})


def test_two_pauses_at_once_are_given_the_same(database: Database) -> None:
    nodes = [{"id": name, "type": "pause", "expected_input": ASKED} for name in ("a", "b")]
    ours = publish(database, *nodes)
    run_id = ours.run("w")
    ours.send(runs.resume(ours.deps, ours.actor, run_id, {"amount": 1}))
    ours.drain()
    if ours.row(run_id).status == "paused":  # the second one began after the first had paused the run
        ours.send(runs.resume(ours.deps, ours.actor, run_id, {"amount": 1}))
    ends(ours, run_id, "success")
    assert output(ours, run_id, "a") == output(ours, run_id, "b") == {"amount": 1}


def test_a_pause_that_expects_nothing_gives_what_it_is_given(database: Database) -> None:
    ours = publish(database, {"id": "pause", "type": "pause"})
    run_id = ours.run("w")
    assert attempts.step(ours, run_id, "pause").waiting_for == "step pause waits for a person"
    ours.send(runs.resume(ours.deps, ours.actor, run_id))
    ends(ours, run_id, "success")
    assert output(ours, run_id, "pause") == {}
