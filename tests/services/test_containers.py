"""Loops and parallels: what runs, in which order, what comes out, and what a failure does."""

from pathlib import Path
from typing import Any

import pytest

from models.database import Database
from orchestrator.services import forking, run_views, runs
from tests.support import attempts, engine
from tests.support.bodies import body, definition, drive, ended, probe
from tests.support.engine import Engine
from tests.support.soundness import assert_run_sound


@pytest.fixture
def ours(database: Database) -> Engine:
    return engine.make(database)


def outputs(ours: Engine, described: dict[str, Any], **trigger: Any) -> Any:
    found = ended(ours, described, **trigger)
    assert found["status"] == "success", found["error"]
    return found["outputs"]


def each(**fields: Any) -> dict[str, Any]:
    return {"id": "each", "type": "parallel", **fields}


def loop(mode: str, **fields: Any) -> dict[str, Any]:
    return {"id": "again", "type": "loop", "mode": mode, **fields}


def test_branches_by_item_give_results_in_order(ours: Engine) -> None:
    branch = body(probe("x", does={"succeed": {"twice": "{{parallel.currentItem}}"}}))
    found = outputs(ours, definition(each(items="{{inputs.them}}", body=branch)), inputs={"them": [3, 1, 2]})
    assert found == {
        "each": {"results": [{"twice": 3}, {"twice": 1}, {"twice": 2}], "count": 3, "failed": 0}
    }


def test_branches_by_count_see_where_they_are(ours: Engine) -> None:
    told = {"at": "{{parallel.index}}", "id": "{{parallel.branchId}}", "of": "{{each.parallel.total}}"}
    found = outputs(ours, definition(each(count=2, body=body(probe("x", does={"succeed": told})))))
    assert found["each"]["results"] == [
        {"at": 0, "id": "each[0]", "of": 2},
        {"at": 1, "id": "each[1]", "of": 2},
    ]


def test_an_entry_of_a_body_is_given_the_containers_input_its_item_and_its_place(ours: Engine) -> None:
    described = definition(
        probe("first", does={"succeed": {"a": 1}}),
        each(items=["x", "y"], input_mapping={"b": 2}, body=body(probe("inner"))),
        edges=["first >> each"],
    )
    assert outputs(ours, described)["each"]["results"] == [
        {"a": 1, "b": 2, "item": "x", "index": 0},
        {"a": 1, "b": 2, "item": "y", "index": 1},
    ]


@pytest.mark.parametrize("container", [each(items=[]), each(count=0), loop("for", count=0)])
def test_an_empty_collection_is_a_success(ours: Engine, container: dict[str, Any]) -> None:
    described = definition(container | {"body": body(probe("x"))}, probe("y"), edges=[f"{container['id']} >> y"])
    assert outputs(ours, described) == {"y": {"results": [], "count": 0, "failed": 0}}


def test_a_body_of_several_ends_gives_an_object(ours: Engine) -> None:
    inner = body(
        {"id": "which", "type": "condition", "expression": "index == 0"},
        probe("yes", does={"succeed": 1}),
        probe("no", does={"succeed": 2}),
        edges=[
            {"from": "which", "to": "yes", "handle": "router", "route": True},
            {"from": "which", "to": "no", "handle": "router", "route": False},
        ],
    )
    assert outputs(ours, definition(each(count=2, body=inner)))["each"]["results"] == [{"yes": 1}, {"no": 2}]


def test_collect_says_what_a_branch_gives(ours: Engine) -> None:
    inner = body(probe("x", does={"succeed": {"n": 5}}), probe("y"), edges=["x >> y"])
    container = each(items=["a", "b"], body=inner, collect={"n": "{{x.n}}", "of": "{{parallel.currentItem}}"})
    assert outputs(ours, definition(container))["each"]["results"] == [
        {"n": 5, "of": "a"},
        {"n": 5, "of": "b"},
    ]


def test_a_for_loop_counts(ours: Engine) -> None:
    told = {"i": "{{loop.index}}", "nth": "{{loop.iteration}}", "of": "{{loop.total}}"}
    found = outputs(ours, definition(loop("for", count=3, body=body(probe("x", does={"succeed": told})))))
    assert found["again"]["results"] == [{"i": i, "nth": i + 1, "of": 3} for i in range(3)]


def test_a_for_each_loop_goes_through_its_items(ours: Engine) -> None:
    inner = body({"id": "x", "type": "transform", "expression": "item * 2"})
    found = outputs(ours, definition(loop("for_each", items=[1, 2, 3], body=inner)))
    assert found["again"] == {"results": [2, 4, 6], "count": 3, "failed": 0}


def test_a_while_loop_goes_on_while_its_condition_holds(ours: Engine) -> None:
    inner = body({"id": "add", "type": "set", "values": {"n": "{{var.n + 1}}"}})
    container = loop("while", condition="var.n < 4", max_iterations=10, body=inner)
    found = ended(ours, definition(container, variables={"n": 1}))
    assert (found["status"], found["variables"], found["outputs"]["again"]["count"]) == ("success", {"n": 4}, 3)


def test_a_while_loop_whose_condition_never_held_runs_nothing(ours: Engine) -> None:
    container = loop("while", condition="var.n > 1", max_iterations=10, body=body(probe("x")))
    found = outputs(ours, definition(container, variables={"n": 1}))
    assert found["again"] == {"results": [], "count": 0, "failed": 0}


def test_a_do_while_loop_sees_what_its_iteration_gave(ours: Engine) -> None:
    inner = body(
        probe("draft", does={"succeed": {"before": "{{check.score?}}"}}),
        {"id": "check", "type": "transform", "expression": '{"score": before = null ? 1 : before + 1}'},
        edges=["draft >> check"],
    )
    container = loop("do_while", condition="check.score < 3", max_iterations=9, body=inner)
    found = outputs(ours, definition(container))
    assert found["again"]["results"] == [{"score": 1}, {"score": 2}, {"score": 3}]


def test_a_loop_that_reaches_its_limit_fails(ours: Engine) -> None:
    container = loop("do_while", condition="true", max_iterations=3, body=body(probe("x")))
    found = ended(ours, definition(container))
    assert (found["status"], found["error"]["code"], found["error"]["step"]) == ("failed", "LOOP_LIMIT", "again")
    assert found["step_counts"] == {"success": 3, "failed": 1}


def test_a_loop_of_inline_nodes_takes_a_transaction_an_iteration(ours: Engine) -> None:
    inner = body({"id": "x", "type": "noop"})
    ours.publish(definition(loop("for", count=5, body=inner)))
    run_id = ours.start("w")
    assert list(ours.statuses(run_id)) == ["again", "again[0]/x"]
    drive(ours, run_id)
    assert_run_sound(ours.deps, run_id)
    assert len(ours.statuses(run_id)) == 6


def test_the_window_bounds_what_has_rows(ours: Engine) -> None:
    ours.publish(definition(each(count=5, max_concurrency=2, body=body(probe("x")))))
    run_id = ours.start("w")
    rows = []
    while ours.inbox:
        rows.append(sum(status != "success" for status in ours.statuses(run_id).values()) - 1)
        message, in_chord = ours.inbox.pop(0)
        ours.carrier.carry(message, in_chord=in_chord)
    assert max(rows) == 2
    assert ours.row(run_id).status == "success"
    assert_run_sound(ours.deps, run_id)


FAILING = body(
    probe("x", does={"succeed": 1}, when="index != 1"),
    probe("bad", does={"fail": "TOOL_FAILED"}, when="index == 1"),
    probe("after"),
    edges=["x >> after", "bad >> after"],
)


def test_a_failing_branch_ends_the_others(ours: Engine) -> None:
    found = ended(ours, definition(each(count=3, max_concurrency=1, body=FAILING), probe("y"), edges=["each >> y"]))
    assert (found["status"], found["error"]["code"], found["error"]["step"]) == ("failed", "TOOL_FAILED", "each")
    statuses = ours.statuses(found["id"])
    assert (statuses["each"], statuses["each[1]/bad"], statuses["y"]) == ("failed", "failed", "skipped")
    assert "each[2]/x" not in statuses


def test_collected_failures_stand_among_the_results(ours: Engine) -> None:
    found = outputs(ours, definition(each(count=3, on_error="collect", collect="{{index}}", body=FAILING)))
    assert found["each"] == {
        "results": [0, {"error": {"code": "TOOL_FAILED", "message": "told to fail"}}, 2],
        "count": 3,
        "failed": 1,
    }


@pytest.mark.parametrize(
    ("tolerated", "status"), [(1, "success"), (0, "failed"), ("34%", "success"), ("33%", "failed")]
)
def test_a_number_of_failures_is_tolerated(ours: Engine, tolerated: int | str, status: str) -> None:
    found = ended(ours, definition(each(count=3, tolerate_failures=tolerated, body=FAILING)))
    assert found["status"] == status


def test_the_error_port_of_a_container_takes_its_failure(ours: Engine) -> None:
    described = definition(
        each(count=3, body=FAILING),
        probe("rescue", does={"succeed": "{{each.error.details.branch}}"}),
        edges=[{"from": "each", "to": "rescue", "handle": "error"}],
    )
    assert outputs(ours, described) == {"rescue": 1}


def test_an_error_edge_within_a_body_handles_the_failure(ours: Engine) -> None:
    inner = body(
        probe("bad", does={"fail": "TOOL_FAILED"}),
        probe("rescue", does={"succeed": "saved"}),
        edges=[{"from": "bad", "to": "rescue", "handle": "error"}],
    )
    found = outputs(ours, definition(each(count=2, body=inner, collect="{{rescue}}")))
    assert found["each"] == {"results": ["saved", "saved"], "count": 2, "failed": 0}


def test_a_retried_loop_goes_on_at_the_failed_iteration(ours: Engine) -> None:
    inner = body(
        probe("first", does={"succeed": "{{loop.index}}"}),
        probe("second", does=[{"fail": "TOOL_FAILED"}, {"succeed": "ok"}], when="first == 1"),
        probe("third", join="any"),
        edges=["first >> second >> third", "first >> third"],
    )
    container = loop("for", count=3, body=inner, retry={"max_attempts": 2, "initial": "1ms"}, collect="{{first}}")
    found = ended(ours, definition(container))
    assert found["status"] == "success", found["error"]
    attempts = {
        path: len(run_views.step(ours.deps, ours.actor, found["id"], path)["attempt_log"])
        for path in ("again", "again[0]/first", "again[1]/first", "again[1]/second", "again[2]/first")
    }
    assert attempts == {
        "again": 2,
        "again[0]/first": 1,
        "again[1]/first": 1,
        "again[1]/second": 2,
        "again[2]/first": 1,
    }


def test_a_retried_map_does_its_failed_branches_again(ours: Engine) -> None:
    inner = body(probe("x", does=[{"fail": "TOOL_FAILED"}, {"succeed": 7}]), probe("y"), edges=["x >> y"])
    container = each(count=3, max_concurrency=2, body=inner, retry={"max_attempts": 4, "initial": "1ms"})
    assert outputs(ours, definition(container))["each"]["results"] == [{"value": 7}] * 3


@pytest.mark.parametrize("forked", [False, True])
def test_a_retried_map_keeps_to_its_window(ours: Engine, forked: bool) -> None:
    """All that failed is done again, two at a time, before what had not begun; in a fork amid it too."""
    inner = body(probe("x", does=[{"fail": "TOOL_FAILED"}, {"succeed": 7}]))
    container = each(
        count=8, max_concurrency=2, body=inner, tolerate_failures=5, retry={"max_attempts": 3, "initial": "1ms"}
    )
    found = ended(ours, definition(container))
    run_id = found["id"]
    if forked:
        reopened = [each.seq for each in attempts.events(ours, run_id) if each.type == "branch.reopened"]
        wanted = forking.Wanted(run_id=run_id, seq=reopened[2])
        created = forking.fork(ours.deps, ours.actor, wanted)
        ours.send(created.effects)
        run_id = created.run_id
        drive(ours, run_id)
        assert_run_sound(ours.deps, run_id)
    shown = run_views.run(ours.deps, ours.actor, run_id)
    assert shown["status"] == "success"
    found = shown["outputs"]["each"]
    assert (found["count"], found["results"].count(7)) == (8, 8 - found["failed"])
    if not forked:  # where a fork's branches begin depends on what ends first
        assert found["failed"] == 2  # those that had not begun before
        assert _most_open(ours, run_id) == 2


def _most_open(ours: Engine, run_id: str) -> int:
    open_, most = set[int](), 0
    for event in attempts.events(ours, run_id):
        if event.type == "branch.started":
            open_ |= set(range(event.data["position"], event.data["position"] + event.data["count"]))
        elif event.type == "branch.reopened":
            open_.add(event.data["position"])
        elif event.type.startswith("branch."):
            open_.discard(event.data["position"])
        most = max(most, len(open_))
    assert open_ == set()
    return most


def test_nested_containers(ours: Engine) -> None:
    told = "{{outer.parallel.index}}{{again.loop.index}}{{parallel.index}}"
    innermost = each(count=2, body=body(probe("x", does={"succeed": told}))) | {"id": "inner"}
    middle = loop("for", count=2, body=body(innermost), collect="{{inner.results}}")
    outer = each(count=2, body=body(middle), collect="{{again.results}}") | {"id": "outer"}
    found = outputs(ours, definition(outer))
    assert found["outer"]["results"] == [
        [["000", "001"], ["010", "011"]],
        [["100", "101"], ["110", "111"]],
    ]


@pytest.mark.parametrize(
    ("policy", "status", "results"),
    [
        ({"on_error": "fail_fast"}, "failed", None),
        ({"on_error": "collect"}, "success", [{"failed": 1}, {"failed": 1}]),
        ({"tolerate_failures": "50%"}, "success", [{"failed": 1}, {"failed": 1}]),
    ],
)
def test_a_failure_deep_inside(ours: Engine, policy: dict[str, Any], status: str, results: Any) -> None:
    bad = probe("x", does={"fail": "TOOL_FAILED"}, when="parallel.index == 1")
    good = probe("z", when="parallel.index != 1")
    inner = each(count=2, body=body(bad, good), **policy) | {"id": "inner"}
    middle = loop("for", count=2, body=body(inner), collect={"failed": "{{inner.failed}}"})
    outer = each(count=2, body=body(middle), collect="{{again.results}}") | {"id": "outer"}
    found = ended(ours, definition(outer))
    assert found["status"] == status
    if results is not None:
        assert found["outputs"]["outer"]["results"] == [results, results]
    else:
        assert "outer[0]/again[1]/inner" not in ours.statuses(found["id"])


def test_an_abort_ends_all_that_is_inside(ours: Engine) -> None:
    inner = each(count=2, body=body(probe("x", does={"wait": "a signal"}), probe("y"), edges=["x >> y"]))
    ours.publish(definition(loop("for", count=2, body=body(inner))))
    run_id = ours.run("w")
    assert ours.statuses(run_id)["again[0]/each[1]/x"] == "waiting"
    ours.send(runs.abort(ours.deps, ours.actor, run_id, "enough"))
    assert ours.row(run_id).status == "aborted"
    assert_run_sound(ours.deps, run_id)
    assert set(ours.statuses(run_id).values()) == {"aborted", "skipped"}


def test_a_pause_holds_the_next_branches_back(ours: Engine) -> None:
    ours.publish(definition(each(count=3, max_concurrency=1, body=body(probe("x")))))
    run_id = ours.start("w")
    runs.pause(ours.deps, ours.actor, run_id, "wait")
    ours.drain()
    assert ours.row(run_id).status == "paused"
    ours.send(runs.resume(ours.deps, ours.actor, run_id))
    drive(ours, run_id)
    assert ours.row(run_id).status == "success"
    assert_run_sound(ours.deps, run_id)


@pytest.mark.parametrize(
    ("container", "code"),
    [
        (each(items="{{inputs.nothing?}}"), "VALIDATION"),
        (each(items="{{inputs.nothing}}"), "UNRESOLVED_REFERENCE"),
        (each(count="{{inputs.text}}"), "VALIDATION"),
        (loop("for", count="{{inputs.five}}", max_iterations=4), "LOOP_LIMIT"),
        (loop("while", condition="inputs.text", max_iterations=4), "VALIDATION"),
    ],
)
def test_what_a_container_cannot_use_fails_it(ours: Engine, container: dict[str, Any], code: str) -> None:
    found = ended(
        ours, definition(container | {"body": body(probe("x"))}), inputs={"text": "many", "five": 5}
    )
    assert (found["status"], found["error"]["code"]) == ("failed", code)


def test_a_body_reads_what_is_around_it(ours: Engine) -> None:
    described = definition(
        probe("before", does={"succeed": {"a": 1}}),
        each(count=1, body=body(probe("x", does={"succeed": "{{before.a}}{{inputs.b}}{{var.c}}"}))),
        edges=["before >> each"],
        variables={"c": 3},
    )
    assert outputs(ours, described, inputs={"b": 2})["each"]["results"] == ["123"]


def test_an_own_key_is_each_branchs_own(ours: Engine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    inner = body(probe("x", idempotency_key="order-{{inputs.n}}", log=str(log)))
    found = ended(ours, definition(each(count=2, body=inner)), inputs={"n": 7})
    assert found["status"] == "success"
    keys = {line.split()[3] for line in log.read_text().splitlines()}
    assert keys == {"order-7:each[0]/x", "order-7:each[1]/x"}


@pytest.mark.parametrize("more", [{}, {"collect": "{{x}}"}])
def test_results_that_are_too_large(ours: Engine, more: dict[str, Any]) -> None:
    inner = body(probe("x", does={"succeed": "é" * 40}))
    described = definition(each(count=3, max_output_bytes=200, body=inner, **more))
    found = ended(ours, described)
    assert (found["status"], found["error"]["code"]) == ("failed", "OUTPUT_TOO_LARGE")
    assert "246 bytes" in found["error"]["message"]
    described["name"], described["nodes"][0]["on_large_output"] = "w2", "truncate"
    assert outputs(ours, described)["each"] == {
        "results": [],
        "count": 3,
        "failed": 0,
        "truncated": True,
        "bytes": 246,
    }
