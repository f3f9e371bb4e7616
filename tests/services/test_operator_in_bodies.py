"""Operators and loops, parallels, called runs, budgets, concurrency keys."""

from typing import Any

import pytest

from models.database import Database
from models.errors import ConflictError
from orchestrator.services import control, run_views
from orchestrator.services.reaching import Wanted
from tests.support import attempts, engine, probes
from tests.support.bodies import body, definition, drive
from tests.support.engine import Engine
from tests.support.probes import probe
from tests.support.soundness import assert_run_sound, assert_sound

ONCE = [{"fail": "TOOL_FAILED"}, {"succeed": "late"}]


@pytest.fixture
def ours(database: Database) -> Engine:
    return engine.make(database)


def started(ours: Engine, *nodes: dict[str, Any], edges: Any = None, **more: Any) -> str:
    ours.publish(definition(*nodes, edges=edges, **more))
    run_id = ours.start("w")
    drive(ours, run_id)
    return run_id


def do(ours: Engine, act: str, run_id: str, path: str, *output: Any, **more: Any) -> None:
    ours.send(getattr(control, act)(ours.deps, ours.actor, Wanted(run_id=run_id, path=path, **more), *output))
    drive(ours, run_id)
    assert_run_sound(ours.deps, run_id)


def outputs(ours: Engine, run_id: str) -> Any:
    found = run_views.run(ours.deps, ours.actor, run_id)
    assert found["status"] == "success", ours.statuses(run_id)
    return found["outputs"]


def tries(ours: Engine, run_id: str, path: str) -> int:
    return len(attempts.attempts(ours, run_id, path))


WAITS = probe("hold", {"wait": "for ever"}, when="index == 2")
BRANCHES = {
    "id": "each",
    "type": "parallel",
    "count": 3,
    "on_error": "collect",
    "collect": "{{x?}}",
}


def test_a_step_of_a_branch_that_failed_is_retried_while_others_go_on(ours: Engine) -> None:
    inner = body(probe("x", ONCE, when="index == 0"), probe("y"), WAITS, edges=["x >> y"])
    run_id = started(ours, {**BRANCHES, "body": inner}, probe("last"), edges=["each >> last"])
    assert ours.statuses(run_id)["each[0]/x"] == "failed"
    do(ours, "retry", run_id, "each[0]/x")
    assert (ours.statuses(run_id)["each[0]/x"], ours.statuses(run_id)["each[0]/y"]) == ("success", "success")
    do(ours, "complete", run_id, "each[2]/hold", "done")
    assert outputs(ours, run_id)["last"] == {"results": ["late", None, None], "count": 3, "failed": 0}


@pytest.mark.parametrize(("act", "output", "failed"), [("skip", (), 0), ("complete", ("by hand",), 0)])
def test_the_last_step_of_a_branch_is_ended_by_hand(
    ours: Engine, act: str, output: tuple[str, ...], failed: int
) -> None:
    inner = body(probe("x", {"fail": "TOOL_FAILED"}, when="index == 0"), WAITS)
    run_id = started(ours, {**BRANCHES, "body": inner})
    do(ours, act, run_id, "each[0]/x", *output)
    do(ours, "skip", run_id, "each[2]/hold")
    found = outputs(ours, run_id)["each"]
    assert (found["failed"], found["results"][0]) == (failed, output[0] if output else None)


def test_a_branch_is_not_taken_up_beside_as_many_as_may_go_on(ours: Engine) -> None:
    hold = probe("hold", {"wait": "for ever"}, when="index == 1")
    inner = body(probe("x", ONCE, when="index == 0"), hold)
    run_id = started(ours, {**BRANCHES, "max_concurrency": 1, "body": inner})
    with pytest.raises(ConflictError, match="max_concurrency"):
        do(ours, "retry", run_id, "each[0]/x")
    do(ours, "skip", run_id, "each[1]/hold")
    assert outputs(ours, run_id)["each"]["failed"] == 1


def test_steps_of_a_container_that_has_failed_are_left_to_it(ours: Engine) -> None:
    does = [{"fail": "TOOL_FAILED"}, {"succeed": 1}]
    loop = {"id": "each", "type": "loop", "mode": "for", "count": 2, "body": body(probe("x", does))}
    run_id = started(ours, loop, probe("z", {"wait": "on"}), on_failure="continue")
    with pytest.raises(ConflictError, match="in each, which is failed; retry each"):
        do(ours, "retry", run_id, "each[0]/x")
    with pytest.raises(ConflictError, match="is in a loop or parallel; rerun each"):
        do(ours, "rerun", run_id, "each[0]/x")
    with pytest.raises(ConflictError, match="is a loop, whose output is made of its branches"):
        do(ours, "complete", run_id, "each", {})
    do(ours, "retry", run_id, "each")
    assert ours.statuses(run_id)["each"] == "failed"  # its second iteration has its own first failure
    do(ours, "retry", run_id, "each")
    assert (ours.statuses(run_id)["each"], tries(ours, run_id, "each[0]/x")) == ("success", 2)
    do(ours, "skip", run_id, "z")
    outputs(ours, run_id)


@pytest.mark.parametrize("kind", ["parallel", "loop"])
def test_a_rerun_opens_containers_behind_it_from_their_start(ours: Engine, kind: str) -> None:
    first = probe("a", [{"succeed": {"list": found}} for found in ([1, 2, 3], [7], [4, 5, 6, 7])])
    own = {"mode": "for_each"} if kind == "loop" else {}
    nested = {"id": "inner", "type": "parallel", "count": 2, "body": body(probe("y"))}
    each = {
        "id": "each", "type": kind, **own, "items": "{{a.list}}", "collect": "{{item}}",
        "body": body(probe("x"), nested, edges=["x >> inner"]),
    }  # fmt: skip
    run_id = started(ours, first, each, edges=["a >> each"])
    assert outputs(ours, run_id)["each"]["results"] == [1, 2, 3]
    do(ours, "rerun", run_id, "a")
    assert outputs(ours, run_id)["each"]["results"] == [7]
    shown = {path: tries(ours, run_id, path) for path in ("each[0]/x", "each[0]/inner[1]/y", "each[2]/x")}
    assert shown == {"each[0]/x": 2, "each[0]/inner[1]/y": 2, "each[2]/x": 1}
    key = attempts.step(ours, run_id, "each[0]/inner[1]/y").idempotency_key
    assert key == f"{run_id}:each[0]/inner[1]/y:r1"
    run_views.run(ours.deps, ours.actor, run_id, include_steps=True)
    do(ours, "rerun", run_id, "a")
    assert outputs(ours, run_id)["each"]["results"] == [4, 5, 6, 7]
    assert attempts.step(ours, run_id, "each[2]/x").idempotency_key == f"{run_id}:each[2]/x:r2"
    do(ours, "rerun", run_id, "each")
    assert tries(ours, run_id, "each[3]/x") == 2
    assert_run_sound(ours.deps, run_id)


def test_a_container_that_is_open_behind_a_rerun_is_closed(ours: Engine) -> None:
    inner = body(probe("x", [{"wait": "for ever"}, {"succeed": 1}]))
    each = {"id": "each", "type": "parallel", "count": 2, "body": inner}
    run_id = started(ours, probe("a"), each, edges=["a >> each"])
    do(ours, "rerun", run_id, "a")
    assert outputs(ours, run_id)["each"]["results"] == [1, 1]


def test_a_container_that_waits_is_skipped(ours: Engine) -> None:
    each = {"id": "each", "type": "parallel", "count": 2, "body": body(probe("x", {"wait": "for ever"}))}
    run_id = started(ours, each, probe("b"), edges=["each >> b"])
    do(ours, "skip", run_id, "each")
    assert set(ours.statuses(run_id).values()) == {"skipped", "aborted"}
    assert ours.row(run_id).status == "success"


def test_a_container_that_a_stop_closed_goes_on_where_it_was(ours: Engine) -> None:
    inner = body(probe("x"), probe("y", [{"wait": "for ever"}, {"succeed": 1}]), edges=["x >> y"])
    each = {"id": "each", "type": "parallel", "count": 2, "body": inner}
    late = probe("b", [{"wait": "for ever"}, {"succeed": 1}], timeout=100)
    run_id = started(ours, each, late, probe("c"), edges=["[each, b] >> c"])
    attempts.outrun(ours, run_id, "b")
    assert ours.statuses(run_id)["each"] == "aborted"
    do(ours, "retry", run_id, "b")
    outputs(ours, run_id)
    assert (tries(ours, run_id, "each[0]/x"), tries(ours, run_id, "each[0]/y")) == (1, 2)


CHILD = {"name": "child", "nodes": [probe("work", [{"succeed": {"n": 1}}])]}


def test_a_called_run_is_called_anew_behind_a_rerun(ours: Engine) -> None:
    ours.publish(CHILD)
    call = {"id": "call", "type": "subworkflow", "workflow": "child"}
    run_id = started(ours, probe("a"), call, edges=["a >> call"])
    first = run_views.step(ours.deps, ours.actor, run_id, "call")["called_run_id"]
    do(ours, "rerun", run_id, "a")
    step = run_views.step(ours.deps, ours.actor, run_id, "call")
    assert (step["status"], step["called_run_id"] != first, len(step["attempt_log"])) == ("success", True, 2)
    with pytest.raises(ConflictError, match=f"run {run_id}, which called it, has its outcome"):
        do(ours, "rerun", first, "work")
    assert_sound(ours.deps)


def test_a_called_run_that_goes_on_is_recalled(ours: Engine) -> None:
    ours.publish({"name": "child", "nodes": [probe("work", {"wait": "for ever"})]})
    call = {"id": "call", "type": "subworkflow", "workflow": "child"}
    run_id = started(ours, probe("a"), call, probe("b"), edges=["a >> call >> b"])
    first = run_views.step(ours.deps, ours.actor, run_id, "call")["called_run_id"]
    do(ours, "rerun", run_id, "a")
    assert ours.row(first).status == "aborted"
    second = run_views.step(ours.deps, ours.actor, run_id, "call")["called_run_id"]
    do(ours, "complete", run_id, "call", {"by": "hand"})
    assert (ours.row(second).status, outputs(ours, run_id)) == ("aborted", {"b": {"by": "hand"}})
    assert_sound(ours.deps)


def test_a_reopened_run_reserves_again(database: Database) -> None:
    does = [{"fail": "TOOL_FAILED", "usage": {"cost_microcents": 1}}, {"succeed": 1}]
    nodes = [probe("a", estimated_cost_cents=5), probe("b", does, estimated_cost_cents=5)]
    ours = probes.publish(database, *nodes, edges=["a >> b"], budget={"limit_cents": 10})
    run_id = probes.ended(ours, "failed")
    wanted = Wanted(run_id=run_id, path="b")
    ours.send(control.retry(ours.deps, ours.actor, wanted))
    probes.ends(ours, run_id, "aborted")
    assert ours.row(run_id).error["code"] == "BUDGET_EXCEEDED"
    more = Wanted(run_id=run_id, path="b", limit_cents=15)
    ours.send(control.rerun(ours.deps, ours.actor, more))
    probes.ends(ours, run_id, "success")


def test_a_run_is_not_reopened_beyond_its_concurrency_key(database: Database) -> None:
    terms = {"key": "one", "limit": 1}
    ours = probes.publish(
        database, probe("a", [{"fail": "TOOL_FAILED"}, {"succeed": 1}]), concurrency=terms
    )
    first = probes.ended(ours, "failed")
    second = ours.start(probes.NAME)
    with pytest.raises(ConflictError, match="1 of 1 runs of its workflow go on under the concurrency key 'one'"):
        ours.send(control.retry(ours.deps, ours.actor, Wanted(run_id=first, path="a")))
    probes.ends(ours, second, "failed")
    ours.send(control.retry(ours.deps, ours.actor, Wanted(run_id=first, path="a")))
    third = ours.start(probes.NAME)
    assert (ours.row(first).status, ours.row(third).status) == ("running", "pending")
    with pytest.raises(ConflictError, match="has not started"):
        ours.send(control.skip(ours.deps, ours.actor, Wanted(run_id=third, path="a")))
    probes.ends(ours, first, "success")
    ours.drain()
    assert ours.row(third).status == "failed"


def test_the_timeout_of_a_reopened_run_begins_anew(database: Database) -> None:
    clock = probes.Clock()
    ours = probes.publish(database, probe("a", ONCE), clock=clock, timeout=60)
    run_id = probes.ended(ours, "failed")
    clock.now += 1_000
    ours.send(control.retry(ours.deps, ours.actor, Wanted(run_id=run_id, path="a")))
    ours.sweep()
    timeout_at = ours.row(run_id).timeout_at
    assert timeout_at is not None
    assert timeout_at.timestamp() == clock.now + 60
    probes.ends(ours, run_id, "success")
