"""Aborts, pauses, failures and timeouts go down to the runs that a run has called."""

import pytest

from models.database import Database
from models.errors import ConflictError
from orchestrator.services import runs
from tests.support import attempts
from tests.support.calls import call, called, child, everything, made, sound
from tests.support.engine import Engine
from tests.support.greeting import DEEP, GREET, WAITS, greeting, statuses
from tests.support.histories import execute
from tests.support.probes import probe


def test_a_run_that_nobody_waits_for(database: Database) -> None:
    below = {"name": "below", "nodes": [probe("w", {"wait": "for ever"})]}
    above = {"name": "above", "nodes": [call("it", "below", wait=False), probe("hold", {"wait": "x"})]}
    ours = made(database, below, above)
    run_id = ours.run("above")
    below_id = child(ours, run_id).id
    assert attempts.attempts(ours, run_id, "it")[-1].output == {"run_id": below_id}
    runs_pause(ours, run_id)
    assert ours.row(below_id).status == "running"
    ours.send(runs.abort(ours.deps, ours.actor, run_id, "enough"))
    ours.drain()
    assert (ours.row(run_id).status, ours.row(below_id).status) == ("aborted", "running")
    ours.send(runs.abort(ours.deps, ours.actor, below_id, "enough"))
    ours.drain()
    sound(ours)


def runs_pause(ours: Engine, run_id: str) -> None:
    ours.send(runs.pause(ours.deps, ours.actor, run_id, "lunch"))
    ours.drain()


def runs_resume(ours: Engine, run_id: str) -> None:
    ours.send(runs.resume(ours.deps, ours.actor, run_id))
    ours.drain()


def test_an_abort_goes_down(database: Database) -> None:
    ours = made(database, *DEEP)
    run_id = ours.run("top")
    assert (len(everything(ours)), statuses(ours)) == (4, {"running"})
    ours.send(runs.abort(ours.deps, ours.actor, run_id, "enough"))
    ours.drain()
    assert statuses(ours) == {"aborted"}
    sound(ours)


def test_a_failure_beside_it_aborts_what_was_called(database: Database) -> None:
    above = {"name": "above", "nodes": [call("it", "waits"), probe("bad", {"fail": "TOOL_FAILED"})]}
    ours = made(database, WAITS, above)
    run_id = ours.start("above")
    bad = attempts.take(ours, "bad")
    ours.drain()
    attempts.end(ours, bad)
    ours.drain()
    assert (ours.row(run_id).status, child(ours, run_id).status) == ("failed", "aborted")
    sound(ours)


def test_an_aborted_run_is_not_called_again(database: Database) -> None:
    retry = {"max_attempts": 5, "initial": 0}
    ours = made(database, WAITS, {"name": "above", "nodes": [call("it", "waits", retry=retry)]})
    run_id = ours.run("above")
    ours.send(runs.abort(ours.deps, ours.actor, child(ours, run_id).id, "not this one"))
    ours.drain()
    assert (ours.row(run_id).status, ours.row(run_id).error["code"]) == ("failed", "CANCELLED")
    assert len(called(ours, run_id)) == 1
    sound(ours)


def test_an_abort_before_the_run_was_created(database: Database) -> None:
    ours = made(database, *DEEP)
    run_id = ours.start("top")
    while ours.inbox:
        message, in_chord = ours.inbox.pop(0)
        ours.carrier.carry(message, in_chord=in_chord)
    assert len(ours.relays) == 2
    ours.send(runs.abort(ours.deps, ours.actor, run_id, "enough"))
    ours.relays.reverse()
    ours.drain()
    assert (called(ours, run_id), ours.row(run_id).status) == ([], "aborted")
    sound(ours)


def test_pause_and_resume_go_down(database: Database) -> None:
    ours = made(database, *DEEP)
    run_id = ours.run("top")
    runs_pause(ours, run_id)
    assert statuses(ours) == {"paused"}
    below = called(ours, run_id)[0].id
    with pytest.raises(ConflictError, match="resume that one"):
        runs.resume(ours.deps, ours.actor, below)
    runs_resume(ours, run_id)
    assert statuses(ours) == {"running"}
    ours.send(runs.abort(ours.deps, ours.actor, run_id, "enough"))
    ours.drain()
    sound(ours)


def test_what_a_person_has_paused_stays_paused(database: Database) -> None:
    ours = made(database, *DEEP)
    run_id = ours.run("top")
    below = called(ours, run_id)[1].id
    runs_pause(ours, below)
    runs_pause(ours, run_id)
    runs_resume(ours, run_id)
    assert [ours.row(run.id).status for run in called(ours, run_id)] == ["running", "paused"]
    runs_resume(ours, below)
    assert statuses(ours) == {"running"}
    sound(ours)


@pytest.mark.parametrize("late", [False, True])
def test_what_is_called_in_a_paused_run_starts_with_the_resume(database: Database, late: bool) -> None:
    ours = made(database, GREET, greeting())
    run_id = ours.start("caller", inputs={"who": "Ada"})
    message, in_chord = ours.inbox.pop(0)
    ours.carrier.carry(message, in_chord=in_chord)
    ours.send(runs.pause(ours.deps, ours.actor, run_id, "lunch"))
    if late:
        ours.relays.reverse()
    ours.drain()
    assert (child(ours, run_id).status, ours.statuses(child(ours, run_id).id)) == (
        "paused",
        {"work": "queued"},
    )
    runs_resume(ours, run_id)
    assert statuses(ours) == {"success"}
    sound(ours)


def test_pauses_and_resumes_in_any_order(database: Database) -> None:
    ours = made(database, *DEEP)
    run_id = ours.run("top")
    ours.send(runs.pause(ours.deps, ours.actor, run_id, "lunch"))
    ours.send(runs.resume(ours.deps, ours.actor, run_id))
    ours.relays.reverse()
    ours.drain()
    assert statuses(ours) == {"running"}
    sound(ours)


def test_a_timeout_of_the_attempt_aborts_what_it_called(database: Database) -> None:
    fields = {"timeout": 60, "retry": {"max_attempts": 2, "initial": 0, "jitter": 0}}
    ours = made(database, WAITS, {"name": "above", "nodes": [call("it", "waits", **fields)]})
    run_id = ours.run("above")
    for _ in range(2):
        ago = attempts.long_ago(ours)
        execute(ours, "UPDATE step SET timeout_at = :at WHERE timeout_at IS NOT NULL", at=ago)
        ours.sweep()
        ours.drain()
        ours.sweep()
        ours.drain()
    assert (ours.row(run_id).status, ours.row(run_id).error["code"]) == ("failed", "TIMEOUT")
    assert [run.status for run in called(ours, run_id)] == ["aborted", "aborted"]
    sound(ours)


def test_a_timeout_before_the_run_was_created(database: Database) -> None:
    ours = made(
        database,
        WAITS,
        {"name": "above", "nodes": [call("it", "waits", wait=False, timeout=60, error_port=True)]},
    )
    run_id = ours.start("above")
    message, in_chord = ours.inbox.pop(0)
    ours.carrier.carry(message, in_chord=in_chord)
    execute(ours, "UPDATE step SET timeout_at = :at", at=attempts.long_ago(ours))
    late = ours.relays.pop()
    ours.sweep()
    ours.relay(late)
    ours.drain()
    assert (ours.row(run_id).status, called(ours, run_id)) == ("success", [])
    sound(ours)


def test_a_failing_run_times_out_with_all_that_it_called(database: Database) -> None:
    ours = made(database, *DEEP[:2], {**DEEP[2], "timeout": 60})
    run_id = ours.run("top")
    execute(ours, "UPDATE run SET timeout_at = :at WHERE id = :run", at=attempts.long_ago(ours), run=run_id)
    ours.sweep()
    ours.drain()
    found = {run.id: run.status for run in everything(ours)}
    assert (found.pop(run_id), ours.row(run_id).error["code"]) == ("failed", "TIMEOUT")
    assert set(found.values()) == {"aborted"}
    sound(ours)


def test_an_external_commitment_lets_what_it_called_end(database: Database) -> None:
    fields = {"side_effects": "external", "compensate": {"type": "none", "reason": "a test"}}
    below = {"name": "below", "nodes": [probe("x", {"succeed": 1, "usage": {"cost_microcents": 6}})]}
    nodes = [call("it", "below", idempotency_key="{{run.id}}", **fields), probe("after")]
    ours = made(database, below, {"name": "above", "nodes": nodes, "edges": ["it >> after"]})
    run_id = ours.start("above")
    while not any(message.path == "x" for message, _ in ours.inbox):
        if ours.relays:
            ours.relay(ours.relays.pop(0))
        else:
            message, in_chord = ours.inbox.pop(0)
            ours.carrier.carry(message, in_chord=in_chord)
    ours.send(runs.abort(ours.deps, ours.actor, run_id, "enough"))
    ours.drain()
    assert (ours.row(run_id).status, child(ours, run_id).status) == ("aborted", "success")
    assert ours.statuses(run_id) == {"it": "success", "after": "skipped"}
    sound(ours)
