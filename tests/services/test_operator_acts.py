"""An operator retries, skips, completes and reruns steps: what is done again, what stays, what is refused."""

from typing import Any

import pytest

from models.database import Database
from models.errors import ConflictError, InvalidError, NotFoundError
from orchestrator.services import control, run_views, runs, timing_out
from orchestrator.services.idempotency import Once
from orchestrator.services.reaching import Wanted
from tests.support import attempts, probes
from tests.support.engine import Engine
from tests.support.probes import probe
from tests.support.soundness import assert_run_sound

ONCE = [{"fail": "TOOL_FAILED"}, {"succeed": {"late": True}}]
TWICE = [{"fail": "TOOL_FAILED"}, {"fail": "TOOL_FAILED"}, {"succeed": {"late": True}}]


def do(ours: Engine, act: str, run_id: str, path: str, *output: Any, **more: Any) -> None:
    """An act, and all that follows from it by itself."""
    ours.send(getattr(control, act)(ours.deps, ours.actor, Wanted(run_id=run_id, path=path, **more), *output))
    ours.drain()


def ends(ours: Engine, run_id: str, status: str) -> dict[str, str]:
    probes.ends(ours, run_id, status)
    return ours.statuses(run_id)


def log(ours: Engine, run_id: str, path: str) -> list[str]:
    return [attempt.status for attempt in attempts.attempts(ours, run_id, path)]


def event(ours: Engine, run_id: str, type_: str, step: str | None = None) -> Any:
    return next(
        e for e in reversed(attempts.events(ours, run_id)) if e.type == type_ and step in (None, e.step)
    )


def keys(ours: Engine, run_id: str, *paths: str) -> list[str | None]:
    return [attempts.step(ours, run_id, path).idempotency_key for path in paths]


CHAIN = [probe(name) for name in "abc"]


@pytest.mark.parametrize("on_failure", ["fail_fast", "continue"])
def test_a_failed_step_is_tried_again_and_its_run_goes_on(database: Database, on_failure: str) -> None:
    nodes = [probe("a"), probe("b", ONCE), probe("c"), probe("d")]
    edges = ["a >> b >> d", "a >> c >> d"]
    ours = probes.publish(database, *nodes, edges=edges, on_failure=on_failure)
    run_id = probes.ended(ours, "failed")
    do(ours, "retry", run_id, "b", reason="the tool is back")
    assert ends(ours, run_id, "success") == dict.fromkeys("abcd", "success")
    assert [log(ours, run_id, path) for path in "ab"] == [["success"], ["failed", "success"]]
    reopened, reset = event(ours, run_id, "run.reopened"), event(ours, run_id, "step.reset", "b")
    assert (reopened.actor, reopened.data["reason"], reopened.data["was"]) == (
        "test", "the tool is back", "failed",
    )  # fmt: skip
    assert (reset.actor, reset.data["act"], reset.data["reason"]) == ("test", "retry", "the tool is back")
    found = run_views.run(ours.deps, ours.actor, run_id)
    assert (found["error"], found["outputs"]) == (None, {"d": {"late": True}})


def test_a_step_that_is_retried_has_fresh_tries(database: Database) -> None:
    does = [*[{"fail": "NETWORK"}] * 3, {"succeed": 1}]
    retry = {"max_attempts": 2, "initial": 0}
    ours = probes.publish(database, probe("a", does, retry=retry))
    run_id = ours.run(probes.NAME)
    for _ in range(2):
        ours.timers.clear()
        ours.sweep()
        ours.drain()
    assert ours.statuses(run_id) == {"a": "failed"}
    do(ours, "retry", run_id, "a")
    assert ours.statuses(run_id) == {"a": "retrying"}
    ours.sweep()
    assert ends(ours, run_id, "success") == {"a": "success"}


def test_what_an_error_edge_led_to_is_taken_back(database: Database) -> None:
    edges = [{"from": "a", "to": "mend", "handle": "error"}, "a >> b", "[b, mend] >> last"]
    nodes = [probe("a", ONCE), probe("b"), probe("mend", {"succeed": {"mended": 1}}), probe("last", join="any")]
    ours = probes.publish(database, *nodes, edges=edges)
    run_id = probes.ended(ours)
    do(ours, "retry", run_id, "a")
    assert ends(ours, run_id, "success") == {"a": "success", "b": "success", "mend": "skipped", "last": "success"}
    assert run_views.run(ours.deps, ours.actor, run_id)["outputs"] == {"last": {"late": True}}
    assert keys(ours, run_id, "a", "b", "last") == [None, None, f"{run_id}:last:r1"]


def test_a_failure_beside_it_stays(database: Database) -> None:
    nodes = [probe("a", ONCE), probe("b", ONCE), probe("c")]
    ours = probes.publish(database, *nodes, edges=["[a, b] >> c"], on_failure="continue")
    run_id = probes.ended(ours, "failed")
    do(ours, "retry", run_id, "a")
    assert ends(ours, run_id, "failed") == {"a": "success", "b": "failed", "c": "success"}
    assert run_views.run(ours.deps, ours.actor, run_id)["error"]["step"] == "b"
    do(ours, "retry", run_id, "b")
    assert ends(ours, run_id, "success")["c"] == "success"


def test_nothing_before_a_step_is_done_twice_when_it_is_rerun(database: Database) -> None:
    nodes = [probe(f"n{place}") for place in range(10)]
    ours = probes.publish(database, *nodes, edges=[" >> ".join(node["id"] for node in nodes)])
    run_id = probes.ended(ours)
    do(ours, "rerun", run_id, "n5", reason="a better prompt")
    ends(ours, run_id, "success")
    assert [len(log(ours, run_id, f"n{place}")) for place in range(10)] == [1] * 5 + [2] * 5
    assert keys(ours, run_id, "n4", "n5", "n9") == [None, f"{run_id}:n5:r1", f"{run_id}:n9:r1"]
    do(ours, "rerun", run_id, "n9")
    ends(ours, run_id, "success")
    assert keys(ours, run_id, "n8", "n9") == [f"{run_id}:n8:r1", f"{run_id}:n9:r2"]


def test_a_key_of_its_own_is_resolved_again_for_a_rerun(database: Database) -> None:
    nodes = [
        probe("a", [{"succeed": {"id": 1}}, {"succeed": {"id": 2}}]),
        probe("b", idempotency_key="{{a.id}}-sign"),
    ]
    ours = probes.publish(database, *nodes, edges=["a >> b"])
    run_id = probes.ended(ours)
    assert keys(ours, run_id, "b") == ["1-sign"]
    do(ours, "rerun", run_id, "a")
    ends(ours, run_id, "success")
    assert keys(ours, run_id, "a", "b") == [f"{run_id}:a:r1", "2-sign:r1"]


def test_what_runs_behind_a_rerun_is_given_up(database: Database) -> None:
    ours = probes.publish(database, *CHAIN, edges=["a >> b >> c"])
    run_id = ours.start(probes.NAME)
    attempts.end(ours, attempts.take(ours, "a"))
    held = attempts.take(ours, "b")
    ours.send(control.rerun(ours.deps, ours.actor, Wanted(run_id=run_id, path="a")))
    assert ours.statuses(run_id) == {"a": "queued", "b": "pending", "c": "pending"}
    attempts.end(ours, held)
    assert ours.statuses(run_id)["b"] == "pending"
    assert ends(ours, run_id, "success") == dict.fromkeys("abc", "success")
    assert log(ours, run_id, "b") == ["fenced", "success"]


def test_an_external_commitment_that_runs_behind_it_is_waited_for(database: Database) -> None:
    ours = probes.publish(database, probe("a"), probes.external("pay"), edges=["a >> pay"])
    run_id = ours.start(probes.NAME)
    attempts.end(ours, attempts.take(ours, "a"))
    held = attempts.take(ours, "pay")
    with pytest.raises(ConflictError, match="pay is running and an external commitment"):
        do(ours, "rerun", run_id, "a")
    attempts.end(ours, held)
    ends(ours, run_id, "success")


@pytest.mark.parametrize("on_failure", ["fail_fast", "continue"])
def test_a_failed_step_is_skipped(database: Database, on_failure: str) -> None:
    nodes = [probe("a", {"fail": "TOOL_FAILED"}), probe("b"), probe("c"), probe("d")]
    ours = probes.publish(database, *nodes, edges=["a >> b", "[b, c] >> d"], on_failure=on_failure)
    run_id = probes.ended(ours, "failed")
    do(ours, "skip", run_id, "a", reason="not needed")
    assert ends(ours, run_id, "success") == {"a": "skipped", "b": "skipped", "c": "success", "d": "success"}
    skipped = event(ours, run_id, "step.skipped", "a")
    assert (skipped.actor, skipped.data["reason"]) == ("test", "not needed")


def test_what_an_operator_skipped_stays_so_when_the_run_is_reopened(database: Database) -> None:
    nodes = [probe("a"), probe("s"), probe("b", {"fail": "TOOL_FAILED"})]
    ours = probes.publish(database, *nodes, edges=["a >> [s, b]"])
    run_id = ours.start(probes.NAME)
    do(ours, "skip", run_id, "s")
    probes.ends(ours, run_id, "failed")
    do(ours, "complete", run_id, "b", {"by": "hand"})
    assert ends(ours, run_id, "success") == {"a": "success", "s": "skipped", "b": "success"}


@pytest.mark.parametrize("does", [{"wait": "for ever"}, {"pause": "asked"}])
def test_a_step_that_waits_is_skipped_or_completed(database: Database, does: dict[str, Any]) -> None:
    ours = probes.publish(database, probe("a", does), probe("b"), edges=["a >> b"])
    for act, output, status in (("skip", (), "skipped"), ("complete", ({"done": True},), "success")):
        run_id = ours.run(probes.NAME)
        do(ours, act, run_id, "a", *output)
        if ours.row(run_id).status == "paused":
            ours.send(runs.resume(ours.deps, ours.actor, run_id))
        assert set(ends(ours, run_id, "success").values()) == {status}
    assert run_views.run(ours.deps, ours.actor, run_id)["outputs"] == {"b": {"done": True}}
    assert log(ours, run_id, "a") == ["success"]


def test_a_retry_that_waits_is_skipped(database: Database) -> None:
    retry = {"max_attempts": 3, "initial": "1h"}
    ours = probes.publish(database, probe("a", {"fail": "NETWORK"}, retry=retry))
    run_id = ours.run(probes.NAME)
    do(ours, "skip", run_id, "a")
    assert ends(ours, run_id, "success") == {"a": "skipped"}


def test_the_edges_of_an_output_given_by_hand_are_those_that_it_chooses(database: Database) -> None:
    edges = [
        {"from": "a", "to": "big", "when": "a.size > 5"},
        {"from": "a", "to": "small", "handle": "else"},
        {"from": "a", "to": "mend", "handle": "error"},
    ]
    nodes = [probe("a", {"fail": "TOOL_FAILED"}), probe("big"), probe("small"), probe("mend")]
    ours = probes.publish(database, *nodes, edges=edges)
    run_id = probes.ended(ours)
    do(ours, "complete", run_id, "a", {"size": 9})
    expected = {"a": "success", "big": "success", "small": "skipped", "mend": "skipped"}
    assert ends(ours, run_id, "success") == expected
    assert log(ours, run_id, "a") == ["failed", "success"]


def test_an_output_given_by_hand_is_checked_as_any(database: Database) -> None:
    nodes = [probe("a", {"fail": "TOOL_FAILED"}, max_output_bytes=50), probe("b")]
    ours = probes.publish(database, *nodes, edges=[{"from": "a", "to": "b", "when": "a.size > 5"}])
    run_id = probes.ended(ours, "failed")
    for output, code in (
        ({"text": "x" * 60}, "OUTPUT_TOO_LARGE"),
        ({"size": "\x00"}, "VALIDATION"),
        ({"other": 1}, "UNRESOLVED_REFERENCE"),
    ):
        with pytest.raises(InvalidError) as refused:
            do(ours, "complete", run_id, "a", output)
        assert [(p.pointer, p.code) for p in refused.value.problems] == [("/output", code)]
    assert ends(ours, run_id, "failed") == {"a": "failed", "b": "skipped"}


STATES: dict[str, dict[str, Any]] = {
    "success": {},
    "failed": {"fail": "TOOL_FAILED"},
    "waiting": {"wait": "for ever"},
    "retrying": {"fail": "NETWORK"},
}
ALLOWED = {
    "retry": {"failed"},
    "skip": {"failed", "waiting", "retrying", "queued", "pending"},
    "complete": {"failed", "waiting"},
    "rerun": {"success", "failed", "skipped", "aborted"},
}


@pytest.mark.parametrize("act", sorted(ALLOWED))
@pytest.mark.parametrize(
    "state", ["pending", "queued", "running", "waiting", "retrying", "success", "failed", "skipped", "aborted"]
)
def test_each_act_is_allowed_where_it_makes_sense(database: Database, act: str, state: str) -> None:
    retry = {"retry": {"max_attempts": 2, "initial": "1h"}} if state == "retrying" else {}
    nodes = [probe("a", STATES.get(state), **retry), probe("b"), probe("z", {"wait": "to the end"})]
    ours = probes.publish(database, *nodes, edges=["a >> b"], on_failure="continue")
    run_id = ours.start(probes.NAME)
    path = "b" if state == "pending" else "a"
    if state in ("running", "aborted"):
        attempts.take(ours, "a")
    if state == "aborted":
        ours.send(runs.abort(ours.deps, ours.actor, run_id, "enough"))
    if state == "skipped":
        do(ours, "skip", run_id, "a")
    if state not in ("pending", "queued"):
        ours.drain()
    assert ours.statuses(run_id)[path] == state
    output = ({},) if act == "complete" else ()
    if state in ALLOWED[act]:
        do(ours, act, run_id, path, *output)
        acts = [e.data["act"] for e in attempts.events(ours, run_id) if e.step == path and "act" in e.data]
        assert acts[-1:] == [act]
    else:
        with pytest.raises(ConflictError, match=f"{path} is {state}; only one that is"):
            do(ours, act, run_id, path, *output)
        assert ours.statuses(run_id)[path] == state
    assert_run_sound(ours.deps, run_id)


def test_a_step_that_is_dead_by_its_edges_is_not_rerun(database: Database) -> None:
    edges = [{"from": "a", "to": "b", "handle": "error"}, "b >> c"]
    ours = probes.publish(database, *CHAIN, edges=edges)
    run_id = probes.ended(ours)
    with pytest.raises(ConflictError, match="too few edges to it live"):
        do(ours, "rerun", run_id, "b")
    assert ends(ours, run_id, "success") == {"a": "success", "b": "skipped", "c": "skipped"}


def test_no_act_on_a_run_that_is_being_stopped(database: Database) -> None:
    nodes = [probes.external("pay"), probe("bad", {"fail": "TOOL_FAILED"})]
    ours = probes.publish(database, *nodes)
    run_id = ours.start(probes.NAME)
    held = attempts.take(ours, "pay")
    ours.drain()
    with pytest.raises(ConflictError, match="is being stopped"):
        do(ours, "retry", run_id, "bad")
    attempts.end(ours, held)
    ends(ours, run_id, "failed")
    with pytest.raises(NotFoundError, match="no step 'nobody'"):
        do(ours, "retry", run_id, "nobody")


def test_an_aborted_run_goes_on_from_a_step(database: Database) -> None:
    ours = probes.publish(database, *CHAIN, edges=["a >> b >> c"])
    run_id = ours.start(probes.NAME)
    attempts.end(ours, attempts.take(ours, "a"))
    attempts.take(ours, "b")
    ours.send(runs.abort(ours.deps, ours.actor, run_id, "a mistake"))
    probes.ends(ours, run_id, "aborted")
    do(ours, "rerun", run_id, "b")
    assert ends(ours, run_id, "success") == dict.fromkeys("abc", "success")
    assert log(ours, run_id, "a") == ["success"]


def test_a_paused_run_holds_what_is_retried(database: Database) -> None:
    nodes = [probe("a", ONCE), probe("z", {"wait": "for ever"})]
    ours = probes.publish(database, *nodes, on_failure="continue")
    run_id = ours.run(probes.NAME)
    runs.pause(ours.deps, ours.actor, run_id, "lunch")
    do(ours, "retry", run_id, "a")
    assert ours.statuses(run_id)["a"] == "queued"
    ours.send(runs.resume(ours.deps, ours.actor, run_id))
    ours.drain()
    do(ours, "complete", run_id, "z", 1)
    ends(ours, run_id, "success")


def test_an_act_under_one_key_is_done_once(database: Database) -> None:
    ours = probes.publish(database, probe("a", TWICE))
    run_id = probes.ended(ours, "failed")
    for _ in range(2):
        once = Once(workspace_id=ours.actor.workspace_id, key="again", digest="d", status=200)
        ours.send(control.retry(ours.deps, ours.actor, Wanted(run_id=run_id, path="a"), once))
        probes.ends(ours, run_id, "failed")
    assert log(ours, run_id, "a") == ["failed", "failed"]


def test_a_poisoned_step_that_is_retried_may_be_lost_again(database: Database) -> None:
    ours = probes.publish(database, probe("a"))
    run_id = ours.start(probes.NAME)
    for _ in range(3):
        attempts.lose(ours, attempts.take(ours, "a"))
    probes.ends(ours, run_id, "failed")
    do_not_drain = control.retry(ours.deps, ours.actor, Wanted(run_id=run_id, path="a"))
    ours.send(do_not_drain)
    attempts.lose(ours, attempts.take(ours, "a"))
    assert ours.statuses(run_id) == {"a": "queued"}
    ends(ours, run_id, "success")


def test_a_step_whose_followers_were_skipped_meanwhile_ends_the_run(database: Database) -> None:
    ours = probes.publish(database, probe("a"), probe("b"), edges=["a >> b"])
    run_id = ours.start(probes.NAME)
    message, _ = ours.inbox.pop()
    claimed = ours.carrier.claim(message)
    assert claimed is not None
    do(ours, "skip", run_id, "b")
    ours.carrier.complete(claimed, ours.carrier.perform(claimed))
    assert ends(ours, run_id, "success") == {"a": "success", "b": "skipped"}


@pytest.mark.parametrize("end", ["skipped", "failed"])
def test_what_a_lost_attempt_has_under_way_is_stopped(database: Database, end: str) -> None:
    """Its worker is gone, and the step is given up before it begins again."""
    clock = probes.Clock()
    node = probe("a", retry={"max_attempts": 3}, total_timeout=30) | {"type": "slow_probe"}
    ours = probes.publish(database, node, clock=clock)
    run_id = ours.start(probes.NAME)
    attempts.lose(ours, attempts.take(ours, "a"))
    assert (ours.statuses(run_id)["a"], ours.stops) == ("queued", [])
    if end == "skipped":
        do(ours, "skip", run_id, "a")
    else:
        clock.now += 40
        ours.send(timing_out.timeouts(ours.deps).effects)
    assert (ours.statuses(run_id)["a"], len(ours.stops)) == (end, 1)
