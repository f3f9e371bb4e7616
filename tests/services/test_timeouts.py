"""Time that runs out: of a step with all its attempts, of a silent handler, of a run that waits for its turn."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from models.database import Database
from orchestrator.core.outcome import Outcome, Succeeded
from orchestrator.ports import StepContext
from orchestrator.services import control, forking, restoring, runs, sweeps, ticks
from orchestrator.services.clock import VirtualClock
from orchestrator.services.reaching import Wanted
from tests.services.test_outcomes_from_handlers import saying
from tests.support import attempts, engine
from tests.support.bodies import body, definition, probe
from tests.support.engine import Engine
from tests.support.histories import execute
from tests.support.polling import poll
from tests.support.soundness import assert_run_sound

BEGIN = 1_700_000_000.0
RETRY = {"max_attempts": 9, "initial": 20, "backoff": "constant", "jitter": 0}


class Hour:
    """An engine whose time the test moves."""

    def __init__(self, database: Database) -> None:
        self.now = BEGIN
        self.engine = engine.make(database, clock=lambda: self.now)

    def after(self, seconds: float) -> None:
        self.now += seconds
        self.engine.sweep()
        self.engine.drain()


@pytest.fixture
def hour(database: Database) -> Hour:
    return Hour(database)


def errors(ours: Engine, run_id: str, path: str = "a") -> list[str | None]:
    return [None if a.error is None else a.error["code"] for a in attempts.attempts(ours, run_id, path)]


@contextmanager
def carried(ours: Engine, run_id: str) -> Iterator[None]:
    """A worker carries the messages of a run meanwhile."""
    worker = threading.Thread(target=ours.drain)
    worker.start()
    poll(lambda: ours.statuses(run_id)["a"] == "running", what="the step's start")
    yield
    worker.join(10)
    assert not worker.is_alive()


def test_total_timeout_ends_the_waits_between_attempts(hour: Hour) -> None:
    ours = hour.engine
    ours.publish(definition(probe("a", does={"fail": "NETWORK"}, retry=RETRY, total_timeout=50)))
    run_id = ours.run("w")
    hour.after(20)
    assert ours.statuses(run_id) == {"a": "retrying"}
    hour.after(20)
    assert ours.row(run_id).status == "failed"  # the next attempt would come 60 s after the first
    assert errors(ours, run_id) == ["NETWORK"] * 3
    assert_run_sound(ours.deps, run_id)


def test_total_timeout_ends_a_retry_that_is_held_up(hour: Hour) -> None:
    ours = hour.engine
    ours.publish(definition(probe("a", does={"fail": "NETWORK"}, retry=RETRY, total_timeout=50)))
    run_id = ours.run("w")
    hour.now += 60  # no sweep came by
    ours.send(sweeps.run(ours.deps, "timeouts").effects)
    assert ours.row(run_id).error["message"] == "the step has outrun its total_timeout of 50 s"
    assert errors(ours, run_id) == ["NETWORK", "TIMEOUT"]
    assert_run_sound(ours.deps, run_id)


def test_total_timeout_ends_a_step_that_nobody_claims(hour: Hour) -> None:
    ours = hour.engine
    node = probe("a", total_timeout=50, fallback="b", queue="elsewhere")
    ours.publish(definition(node, probe("b", output="{{a.error.code}}")))
    run_id = ours.start("w")
    (late,) = ours.inbox
    ours.inbox.clear()
    hour.after(51)
    ours.carrier.carry(late[0])
    assert ours.statuses(run_id) == {"a": "failed", "b": "success"}
    assert ours.row(run_id).status == "success"
    assert_run_sound(ours.deps, run_id)


@pytest.mark.parametrize("does", [{"wait": "for ever"}, {"succeed": 1}])
def test_total_timeout_ends_an_attempt_for_good(hour: Hour, does: dict[str, Any]) -> None:
    ours = hour.engine
    ours.publish(definition(probe("a", does=does, retry=RETRY, total_timeout=50)))
    run_id = ours.start("w")
    if "wait" in does:
        ours.drain()
    else:
        claimed = attempts.take(ours, "a")
    hour.after(51)
    assert (ours.row(run_id).status, errors(ours, run_id)) == ("failed", ["TIMEOUT"])
    if "wait" not in does:
        attempts.end(ours, claimed)
        assert attempts.attempts(ours, run_id, "a")[0].status == "failed"
    assert_run_sound(ours.deps, run_id)


def test_total_timeout_bounds_what_a_handler_is_given(hour: Hour) -> None:
    ours = hour.engine
    left: list[float] = []

    def execute_(ctx: StepContext) -> Outcome:
        left.append(ctx.remaining(1_000))
        return Succeeded(output=1)

    saying(ours.deps, "probe", execute_)
    ours.publish(definition(probe("a", timeout=100, total_timeout=50), probe("b", timeout=30, total_timeout=50)))
    ours.start("w")
    hour.now += 10
    ours.drain()
    assert [round(seconds) for seconds in left] == [40, 30]


def test_total_timeout_ends_a_container_and_what_is_in_it(hour: Hour) -> None:
    ours = hour.engine
    each = {"id": "a", "type": "parallel", "count": 2, "total_timeout": 50, "retry": RETRY,
            "body": body(probe("x", does={"wait": "for ever"}))}  # fmt: skip
    ours.publish(definition(each))
    run_id = ours.run("w")
    hour.after(51)
    assert (ours.row(run_id).status, ours.row(run_id).error["code"]) == ("failed", "TIMEOUT")
    assert ours.statuses(run_id) == {"a": "failed", "a[0]/x": "aborted", "a[1]/x": "aborted"}
    assert_run_sound(ours.deps, run_id)


@pytest.mark.parametrize("kind", [{"type": "parallel", "count": 2}, {"type": "loop", "mode": "for", "count": 2}])
def test_timeout_of_a_container_closes_its_branches(hour: Hour, kind: dict[str, Any]) -> None:
    ours = hour.engine
    inner = body(probe("x", does={"wait": "for ever"}), probe("y"), edges=["x >> y"])
    ours.publish(definition({"id": "a", **kind, "timeout": 5, "body": inner, "fallback": "b"}, probe("b")))
    run_id = ours.run("w")
    attempts.outrun(ours, run_id, "a")
    ours.drain()
    statuses = ours.statuses(run_id)
    assert (statuses["a"], statuses["a[0]/x"], statuses["a[0]/y"]) == ("failed", "aborted", "skipped")
    assert (errors(ours, run_id), ours.row(run_id).status) == (["TIMEOUT"], "success")
    assert_run_sound(ours.deps, run_id)


def test_total_timeout_of_a_step_in_a_body(hour: Hour) -> None:
    ours = hour.engine
    inner = body(probe("x", does={"fail": "NETWORK"}, retry=RETRY, total_timeout=30, degrade={"value": 1}))
    ours.publish(definition({"id": "a", "type": "loop", "mode": "for", "count": 2, "body": inner}))
    run_id = ours.run("w")
    hour.now += 31
    ours.send(sweeps.run(ours.deps, "timeouts").effects)
    assert ours.statuses(run_id)["a[0]/x"] == "success"
    assert_run_sound(ours.deps, run_id)


def test_total_timeout_begins_anew_with_a_rerun(hour: Hour) -> None:
    ours = hour.engine
    ours.publish(definition(probe("a", does={"fail": "NETWORK"}, total_timeout=50)))
    run_id = ours.run("w")
    hour.after(100)
    ours.send(control.retry(ours.deps, ours.actor, Wanted(run_id=run_id, path="a")))
    hour.after(40)
    assert errors(ours, run_id) == ["NETWORK", "NETWORK"]


def test_total_timeout_of_a_container_begins_anew_with_a_restore_or_a_fork(hour: Hour) -> None:
    ours = hour.engine
    waits = body(probe("x", does={"wait": "for ever"}))
    ours.publish(definition({"id": "each", "type": "parallel", "items": [1], "total_timeout": 50, "body": waits}))
    run_id = ours.run("w")
    seq = ours.row(run_id).seq
    hour.after(100)
    assert ours.statuses(run_id)["each"] == "failed"
    ours.send(restoring.restore(ours.deps, ours.actor, restoring.Wanted(run_id=run_id, checkpoint=str(seq))))
    forked = forking.fork(ours.deps, ours.actor, forking.Wanted(run_id=run_id, seq=seq))
    ours.send(forked.effects)
    for seconds, status in ((40, "waiting"), (20, "failed")):
        hour.after(seconds)
        for each in (run_id, forked.run_id):
            assert ours.statuses(each)["each"] == status
            assert_run_sound(ours.deps, each)


def test_total_timeout_stands_still_in_a_paused_run(database: Database) -> None:
    fast = VirtualClock(origin=time.time(), start=BEGIN, speed=1_000_000.0)
    made = engine.make(database)
    ours = Engine(deps=replace(made.deps, clock=fast), actor=made.actor)
    nodes = [
        probe("a", does={"wait": "for ever"}, total_timeout="7d"),
        probe("b", total_timeout="7d"),
        probe("c", total_timeout="7d"),
    ]
    ours.publish(definition(*nodes, edges=["b >> c"]))
    began = fast.now()
    run_id = ours.start("w")
    claimed = attempts.take(ours, "b")
    ours.drain()
    runs.pause(ours.deps, ours.actor, run_id, "lunch")
    before, paused = attempts.step(ours, run_id, "a").deadline_at, fast.now()
    attempts.end(ours, claimed)
    ready = fast.now()
    runs.resume(ours.deps, ours.actor, run_id)
    after = attempts.step(ours, run_id, "a").deadline_at
    late = attempts.step(ours, run_id, "c").deadline_at
    assert before is not None
    assert after is not None
    assert late is not None
    assert ready - paused < (after - before).total_seconds() < fast.now() - began
    assert ready < late.timestamp() - 7 * 86_400 < fast.now()


def test_a_queue_timeout_fails_a_run_that_waits_for_its_turn(hour: Hour) -> None:
    ours = hour.engine
    limits = {"concurrency": {"key": "k", "limit": 1}, "queue_timeout": 60, "timeout": 300}
    ours.publish(definition(probe("a", does={"wait": "for ever"}), **limits))
    first, second, third = ours.run("w"), ours.run("w"), ours.run("w")
    hour.after(59)
    assert ours.row(second).status == "pending"
    hour.after(2)
    assert (ours.row(second).status, ours.row(second).error["code"]) == ("failed", "TIMEOUT")
    assert "queue_timeout" in ours.row(second).error["message"]
    assert ours.statuses(second) == {"a": "skipped"}
    assert (ours.row(first).status, ours.row(third).status) == ("running", "failed")
    fourth = ours.run("w")
    ours.send(runs.abort(ours.deps, ours.actor, first, "enough"))
    assert ours.row(fourth).status == "running"
    hour.after(200)  # its turn came: the queue timeout is over with
    assert ours.row(fourth).status == "running"
    hour.after(101)
    assert ours.row(fourth).error["message"] == "the run has outrun its timeout"
    for run_id in (first, second, third, fourth):
        assert_run_sound(ours.deps, run_id)


def test_a_run_whose_turn_has_come_has_no_queue_timeout(hour: Hour) -> None:
    ours = hour.engine
    ours.publish(
        definition(probe("a", does={"wait": "x"}), concurrency={"key": "k", "limit": 1}, queue_timeout=60)
    )
    first, second = ours.run("w"), ours.run("w")
    ours.send(runs.abort(ours.deps, ours.actor, first, "enough"))
    ours.drain()
    hour.after(100)
    assert (ours.row(second).status, ours.row(second).timeout_at) == ("running", None)


def test_a_handler_without_a_heartbeat_fails_and_is_tried_again(hour: Hour) -> None:
    ours = hour.engine
    ours.publish(definition(probe("a", heartbeat="30s", retry={"max_attempts": 2, "initial": 0})))
    run_id = ours.start("w")
    claimed = attempts.take(ours, "a")
    attempts.in_contact(ours)
    ours.send(sweeps.run(ours.deps, "timeouts").effects)
    assert ours.statuses(run_id) == {"a": "running"}
    execute(ours, "UPDATE step SET beat_until = :at", at=attempts.long_ago(ours))
    ours.send(sweeps.run(ours.deps, "timeouts").effects)
    (attempt,) = attempts.attempts(ours, run_id, "a")
    assert (attempt.error["code"], attempt.error["message"]) == ("TIMEOUT", "no heartbeat for 30 s")
    attempts.end(ours, claimed)
    assert ours.statuses(run_id) == {"a": "retrying"}
    hour.after(1)
    assert ours.row(run_id).status == "success"
    assert_run_sound(ours.deps, run_id)


def test_silence_counts_for_nothing_while_the_database_was_away(hour: Hour) -> None:
    ours = hour.engine
    ours.publish(definition(probe("a", heartbeat="30s")))
    run_id = ours.start("w")
    attempts.take(ours, "a")
    execute(ours, "UPDATE step SET beat_until = :at", at=attempts.long_ago(ours))
    ours.send(sweeps.run(ours.deps, "leases").effects)
    ours.send(sweeps.run(ours.deps, "timeouts").effects)
    assert ours.statuses(run_id) == {"a": "running"}


def test_a_handler_that_beats_is_waited_for(database: Database) -> None:
    ours = engine.make(database)
    ours.publish(definition(probe("a", heartbeat=0.4, does={"beats": 6, "every": 0.15})))
    run_id = ours.start("w")
    attempts.in_contact(ours)
    moved: set[Any] = set()
    with carried(ours, run_id):
        while ours.statuses(run_id) == {"a": "running"}:
            ours.send(sweeps.run(ours.deps, "timeouts").effects)
            moved.add(attempts.step(ours, run_id, "a").beat_until)
    assert ours.row(run_id).status == "success"
    assert len(moved) >= 4
    assert_run_sound(ours.deps, run_id)


def test_a_silent_handler_is_stopped_by_its_next_beat(database: Database) -> None:
    ours = engine.make(database)
    stopped = threading.Event()

    def execute_(ctx: StepContext) -> Outcome:
        while not ctx.cancelled.wait(0.1):
            if attempts.step(ours, ctx.run_id, "a").status == "failed":
                ctx.heartbeat()
        stopped.set()
        return Succeeded(output=1)

    saying(ours.deps, "probe", execute_)
    ours.publish(definition(probe("a", heartbeat=0.3)))
    run_id = ours.start("w")
    attempts.in_contact(ours)
    with carried(ours, run_id):
        poll(lambda: "timeouts" not in ticks.nothing_for(ours.deps), what="the time of the next beat")
        ours.send(sweeps.run(ours.deps, "timeouts").effects)
        assert stopped.wait(10)
    assert ours.row(run_id).status == "failed"
    assert ours.row(run_id).error["code"] == "TIMEOUT"
    assert_run_sound(ours.deps, run_id)
