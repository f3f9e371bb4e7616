"""Pauses, timers and retries: what is sent when, and what stands still."""

import time
from dataclasses import replace
from typing import Any

import pytest

from models.database import Database
from orchestrator.core.effects import Wave
from orchestrator.core.outcome import Cancelled
from orchestrator.services import runs, sweeps
from orchestrator.services.clock import VirtualClock
from tests.support import attempts, engine
from tests.support.engine import Engine
from tests.support.histories import execute, moment
from tests.support.soundness import assert_run_sound


def test_the_timer_of_an_earlier_retry_wakes_no_later_one(database: Database) -> None:
    now = [1_700_000_000.0]
    ours = engine.make(database, clock=lambda: now[0])
    retry = {"max_attempts": 5, "initial": 1, "jitter": 0, "multiplier": 1.5}
    ours.publish(
        {"name": "w", "nodes": [{"id": "a", "type": "probe", "does": {"fail": "NETWORK"}, "retry": retry}]}
    )
    run_id = ours.run("w")
    early = ours.timers.pop()
    now[0] += 1
    ours.sweep()
    ours.drain()
    assert (ours.statuses(run_id), len(ours.timers)) == ({"a": "retrying"}, 1)
    assert sweeps.wake(ours.deps, early) == ()
    assert ours.statuses(run_id) == {"a": "retrying"}
    assert sweeps.wake(ours.deps, ours.timers.pop()) != ()
    assert ours.statuses(run_id) == {"a": "queued"}


def slow_pair(database: Database) -> tuple[Engine, str]:
    ours = engine.make(database)
    nodes = [{"id": name, "type": "probe"} for name in ("a", "b", "c")]
    ours.publish({"name": "w", "nodes": nodes, "edges": ["a >> [b, c]"], "timeout": 100})
    return ours, ours.start("w")


def test_what_becomes_ready_in_a_paused_run_is_sent_when_it_is_resumed(database: Database) -> None:
    ours, run_id = slow_pair(database)
    claimed = attempts.take(ours, "a")
    runs.pause(ours.deps, ours.actor, run_id, "lunch")
    attempts.end(ours, claimed)
    assert ours.statuses(run_id) == {"a": "success", "b": "queued", "c": "queued"}
    assert ours.inbox == []
    ours.sweep()
    assert ours.inbox == []
    effects = runs.resume(ours.deps, ours.actor, run_id)
    assert [[m.path for m in wave.messages] for wave in effects if isinstance(wave, Wave)] == [["b", "c"]]
    ours.send(effects)
    ours.drain()
    assert ours.row(run_id).status == "success"
    assert_run_sound(ours.deps, run_id)


def test_a_retry_that_is_due_in_a_paused_run_is_sent_when_it_is_resumed(database: Database) -> None:
    ours = engine.make(database)
    does = [{"fail": "NETWORK"}, {"succeed": 1}]
    ours.publish(
        {"name": "w", "nodes": [{"id": "a", "type": "probe", "does": does, "retry": {"max_attempts": 2}}]}
    )
    run_id = ours.run("w")
    runs.pause(ours.deps, ours.actor, run_id, "lunch")
    execute(ours, "UPDATE step SET due_at = :at", at=moment(ours, attempts.LONG_AGO))
    ours.sweep()
    assert (ours.statuses(run_id), ours.inbox) == ({"a": "queued"}, [])
    ours.send(runs.resume(ours.deps, ours.actor, run_id))
    ours.drain()
    assert ours.row(run_id).status == "success"
    assert_run_sound(ours.deps, run_id)


@pytest.mark.parametrize("does", [{"wait": "for ever"}, {"pause": "asked"}])
def test_the_timeout_of_a_run_stands_still_while_it_is_paused(
    database: Database, does: dict[str, Any]
) -> None:
    fast = VirtualClock(origin=time.time(), start=1_700_000_000.0, speed=1_000_000.0)
    made = engine.make(database)
    ours = Engine(deps=replace(made.deps, clock=fast), actor=made.actor)
    ours.publish({"name": "w", "nodes": [{"id": "a", "type": "probe", "does": does}], "timeout": "7d"})
    began = fast.now()
    run_id = ours.run("w")
    if "wait" in does:
        runs.pause(ours.deps, ours.actor, run_id, "lunch")
    before, paused = ours.row(run_id).timeout_at, fast.now()
    resumed = fast.now()
    runs.resume(ours.deps, ours.actor, run_id)
    after = ours.row(run_id).timeout_at
    assert before is not None
    assert after is not None
    assert resumed - paused < (after - before).total_seconds() < fast.now() - began


def test_what_is_given_back_is_sent_again_at_once(database: Database) -> None:
    ours, run_id = slow_pair(database)
    claimed = attempts.take(ours, "a")
    attempts.end(ours, claimed, Cancelled())
    assert ours.statuses(run_id)["a"] == "queued"
    assert [message.path for message, _ in ours.inbox] == ["a"]
    ours.drain()
    assert ours.row(run_id).status == "success"
    assert_run_sound(ours.deps, run_id)
