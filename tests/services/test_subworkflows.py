"""Runs that call runs: outputs, failures and costs come up, whatever becomes of the messages between them."""

from typing import Any

import pytest

from models.database import Database
from orchestrator.core.document import from_data
from orchestrator.services import run_views, runs, sweeps, workflows
from orchestrator.services.idempotency import Once
from orchestrator.settings import Settings
from tests.support import attempts
from tests.support.calls import call, called, child, everything, lose_relays, made, pass_on, sound
from tests.support.engine import Engine
from tests.support.greeting import DEEP, GREET, WAITS, error_of, failing, greeting, statuses
from tests.support.histories import execute
from tests.support.probes import probe


def test_the_outputs_of_the_called_run_are_those_of_the_step(database: Database) -> None:
    ours = made(database, GREET, greeting())
    run_id = ours.run("caller", inputs={"who": "Ada"}, priority=3, labels={"team": "x"})
    run, below = ours.row(run_id), child(ours, run_id)
    assert (run.status, ours.data(run_id).outputs) == ("success", {"said": "hello Ada", "n": 7})
    assert (below.parent_run_id, below.parent_step, below.parent_attempt) == (run_id, "greet", 1)
    assert (below.workspace_id, below.priority, below.depth) == (run.workspace_id, 3, 1)
    assert (ours.data(below.id).created_by, ours.data(below.id).labels) == ("test", {})
    assert (run.cost_microcents, below.cost_microcents) == (40, 40)
    told = [event for event in attempts.events(ours, run_id) if event.type == "step.waiting"]
    assert told[0].data["reason"] == f"run {below.id}"
    sound(ours)


def test_without_outputs_of_its_own_a_run_gives_those_of_its_terminal_nodes(database: Database) -> None:
    below = {"name": "below", "nodes": [probe("a", {"succeed": 1}), probe("b", {"succeed": 2})]}
    ours = made(database, below, {"name": "above", "nodes": [call("it", "below")]})
    run_id = ours.run("above", inputs={"x": 1})
    assert attempts.attempts(ours, run_id, "it")[-1].output == {"a": 1, "b": 2}
    assert ours.data(child(ours, run_id).id).inputs == {"x": 1}
    sound(ours)


def test_a_run_of_inline_nodes_ends_where_it_is_created(database: Database) -> None:
    below = {"name": "below", "nodes": [{"id": "a", "type": "noop"}]}
    ours = made(database, below, {"name": "above", "nodes": [call("it", "below", inputs={"n": 1})]})
    run_id = ours.run("above")
    assert attempts.attempts(ours, run_id, "it")[-1].output == {"a": {"n": 1}}
    sound(ours)


def test_a_failure_comes_up(database: Database) -> None:
    ours = made(database, failing(), {"name": "above", "nodes": [call("it", "fails")]})
    run_id = ours.run("above")
    run, below = ours.row(run_id), child(ours, run_id)
    assert (run.status, run.error["code"], run.error["step"]) == ("failed", "TOOL_FAILED", "it")
    assert run.error["details"] == {"run_id": below.id, "step": "bad", "details": None}
    assert "told to fail" in run.error["message"]
    sound(ours)


def test_a_failure_leaves_through_the_error_port(database: Database) -> None:
    above = {
        "name": "above",
        "nodes": [call("it", "fails"), probe("mend"), probe("never")],
        "edges": [{"from": "it", "to": "mend", "handle": "error"}, "it >> never"],
        "outputs": {"code": "{{it.error.code}}", "run": "{{it.error.details.run_id}}"},
    }
    ours = made(database, failing(), above)
    run_id = ours.run("above")
    assert ours.data(run_id).outputs == {"code": "TOOL_FAILED", "run": child(ours, run_id).id}
    assert ours.statuses(run_id) == {"it": "failed", "mend": "success", "never": "skipped"}
    sound(ours)


def test_each_attempt_calls_a_run_of_its_own(database: Database) -> None:
    costly = {"name": "fails", "nodes": [probe("a", {"fail": "NETWORK"})], "on_failure": "continue"}
    costly["nodes"].append(probe("b", {"succeed": 1, "usage": {"cost_microcents": 5}}))
    retry = {"max_attempts": 3, "initial": 0, "jitter": 0}
    ours = made(database, costly, {"name": "above", "nodes": [call("it", "fails", retry=retry)]})
    run_id = ours.run("above")
    for _ in range(3):
        ours.sweep()
        ours.drain()
    assert [run.parent_attempt for run in called(ours, run_id)] == [1, 2, 3]
    assert (ours.row(run_id).status, ours.row(run_id).cost_microcents) == ("failed", 15)
    sound(ours)


@pytest.mark.parametrize(
    ("fields", "code", "word"),
    [
        ({"workflow": "nowhere"}, "VALIDATION", "nowhere"),
        ({"workflow": "greet", "version": 9}, "VALIDATION", "version 9"),
        ({"workflow": "greet", "inputs": {"who": 3}}, "VALIDATION", "inputs"),
    ],
)
def test_what_cannot_be_called_fails_the_step(
    database: Database, fields: dict[str, Any], code: str, word: str
) -> None:
    node = {"id": "it", "type": "subworkflow", "estimated_cost_cents": 5, **fields}
    ours = made(database, GREET, {"name": "above", "nodes": [node], "budget": {"limit_cents": 9}})
    run_id = ours.run("above")
    error = ours.row(run_id).error
    assert (error["code"], word in error["message"]) == (code, True)
    if "inputs" in fields:
        assert error["details"]["errors"][0]["pointer"] == "/inputs/who"
    assert (called(ours, run_id), ours.row(run_id).cost_microcents) == ([], 0)
    assert not error_of(ours, run_id, "it")["transient"]
    sound(ours)


def test_a_version_is_pinned_or_the_latest(database: Database) -> None:
    nodes = [call("pinned", "greet", version=1, inputs={"who": "a"}), call("latest", "greet", inputs={})]
    ours = made(database, GREET, {"name": "above", "on_failure": "continue", "nodes": nodes})
    next_version(ours, {**GREET, "inputs": {"type": "object"}, "outputs": {"text": "two"}})
    run_id = ours.run("above")
    outputs = [attempts.attempts(ours, run_id, path)[-1].output["text"] for path in ("pinned", "latest")]
    assert outputs == ["hello a", "two"]
    sound(ours)


def next_version(ours: Engine, definition: dict[str, Any]) -> None:
    document = from_data({"edges": [], **definition}, ours.deps.limits())
    workflows.update(ours.deps, ours.actor, definition["name"], document, Once())


def test_a_run_that_calls_itself_ends_at_the_limit(database: Database) -> None:
    below = {"name": "again", "nodes": [call("it", "again")]}
    ours = made(database, below, settings=Settings(max_call_depth=4))
    run_id = ours.run("again")
    assert sorted(run.depth for run in everything(ours)) == [0, 1, 2, 3, 4]
    error = ours.row(run_id).error
    assert (error["code"], "MAX_CALL_DEPTH" in error["message"]) == ("VALIDATION", True)
    assert {run.status for run in everything(ours)} == {"failed"}
    sound(ours)


def test_three_levels_and_two_calls_at_once(database: Database) -> None:
    leaf = {"name": "leaf", "nodes": [probe("x", {"succeed": 1, "usage": {"cost_microcents": 3}})]}
    middle = {"name": "middle", "nodes": [call("a", "leaf"), call("b", "leaf")]}
    top = {"name": "top", "nodes": [call("m", "middle"), call("n", "middle"), probe("end")]}
    ours = made(database, leaf, middle, {**top, "edges": ["[m, n] >> end"]})
    run_id = ours.run("top")
    assert (ours.row(run_id).status, ours.row(run_id).cost_microcents) == ("success", 12)
    assert sorted(run.depth for run in everything(ours)) == [0, 1, 1, 2, 2, 2, 2]
    sound(ours)


def test_an_output_above_its_limit_is_refused_or_cut(database: Database) -> None:
    below = {"name": "below", "nodes": [probe("x", {"succeed": {"text": "x" * 400}})]}
    cut = call("cut", "below", max_output_bytes=100, on_large_output="truncate")
    nodes = [cut, call("whole", "below", max_output_bytes=100)]
    ours = made(database, below, {"name": "above", "nodes": nodes, "on_failure": "continue"})
    run_id = ours.run("above")
    assert attempts.attempts(ours, run_id, "cut")[-1].output["truncated"]
    assert error_of(ours, run_id, "whole")["code"] == "OUTPUT_TOO_LARGE"
    sound(ours)


def test_every_lost_message_is_made_good(database: Database) -> None:
    ours = made(database, *DEEP[:1], GREET, greeting())
    ours.start("caller", inputs={"who": "Ada"})
    for _ in range(8):
        while ours.inbox:
            message, in_chord = ours.inbox.pop(0)
            ours.carrier.carry(message, in_chord=in_chord)
        lose_relays(ours)
        found = sweeps.run(ours.deps, "relays").effects
        ours.send([*found, *found])
        pass_on(ours)
    assert statuses(ours) == {"success"}
    sound(ours)


def test_the_cost_of_a_run_whose_caller_is_gone_comes_up_all_the_same(database: Database) -> None:
    below = {"name": "below", "nodes": [probe("x", {"succeed": 1, "usage": {"cost_microcents": 50}})]}
    middle = {"name": "middle", "nodes": [call("it", "below")]}
    top = {"name": "top", "nodes": [call("m", "middle")], "budget": {"limit_cents": 5}}
    ours = made(database, below, middle, top)
    run_id = ours.start("top")
    while not any(message.path == "x" for message, _ in ours.inbox):
        if ours.relays:
            ours.relay(ours.relays.pop(0))
        else:
            message, in_chord = ours.inbox.pop(0)
            ours.carrier.carry(message, in_chord=in_chord)
    held = attempts.take(ours, "x")
    ours.send(runs.abort(ours.deps, ours.actor, run_id, "enough"))
    ours.drain()
    assert statuses(ours) == {"aborted"}
    attempts.end(ours, held)
    ours.drain()
    assert {run.cost_microcents for run in everything(ours)} == {50}
    sound(ours)


def test_inputs_that_no_trigger_would_take_are_refused(database: Database) -> None:
    above = {"name": "above", "nodes": [call("it", "waits", inputs={"text": "{{inputs.text}}"})]}
    ours = made(database, WAITS, above, settings=Settings(max_body_bytes=2_000))
    run_id = ours.run("above", inputs={"text": "x" * 3_000})
    assert "MAX_BODY_BYTES" in ours.row(run_id).error["message"]
    sound(ours)


def test_what_the_database_refuses_fails_the_step(database: Database) -> None:
    ours = made(database, WAITS, {"name": "above", "nodes": [call("it", "waits")]})
    run_id = ours.start("above")
    message, in_chord = ours.inbox.pop(0)
    ours.carrier.carry(message, in_chord=in_chord)
    execute(ours, "UPDATE workflow_version SET plan = '{}' WHERE definition LIKE '%for ever%'")
    ours.drain()
    error = ours.row(run_id).error
    assert (error["code"], called(ours, run_id)) == ("INTERNAL", [])
    sound(ours)


@pytest.mark.parametrize("kind", ["parallel", "loop"])
def test_calls_in_a_body(database: Database, kind: str) -> None:
    """Each branch calls a run of its own, found by its path."""
    fields = {"mode": "for_each"} if kind == "loop" else {"max_concurrency": 2}
    body = {"nodes": [call("it", "greet", inputs={"who": ITEM[kind]})], "edges": []}
    node = {"id": "each", "type": kind, "items": "{{inputs.names}}", "body": body, **fields}
    ours = made(database, GREET, {"name": "above", "nodes": [node], "budget": {"limit_cents": 100}})
    run_id = ours.run("above", inputs={"names": ["a", "b", "c"]})
    assert (ours.row(run_id).status, ours.row(run_id).cost_microcents) == ("success", 120)
    assert [run.parent_step for run in called(ours, run_id)] == [f"each[{no}]/it" for no in range(3)]
    results = outputs_of(ours, run_id)["each"]["results"]
    assert [result["text"] for result in results] == ["hello a", "hello b", "hello c"]
    sound(ours)


ITEM = {"parallel": "{{parallel.currentItem}}", "loop": "{{loop.item}}"}


def outputs_of(ours: Engine, run_id: str) -> Any:
    return run_views.run(ours.deps, ours.actor, run_id)["outputs"]


def test_a_failing_branch_aborts_what_the_others_called(database: Database) -> None:
    body = {"nodes": [call("it", "{{parallel.currentItem}}")], "edges": []}
    body["nodes"] = [
        {"id": "pick", "type": "condition", "expression": "parallel.currentItem == 'bad'"},
        probe("bad", {"fail": "TOOL_FAILED"}),
        call("it", "waits"),
    ]
    body["edges"] = [
        {"from": "pick", "to": "bad", "handle": "router", "route": "true"},
        {"from": "pick", "to": "it", "handle": "router", "route": "false"},
    ]
    node = {"id": "each", "type": "parallel", "items": ["good", "bad"], "body": body, "error_port": True}
    ours = made(database, WAITS, {"name": "above", "nodes": [node]})
    run_id = ours.start("above")
    bad = None
    while ours.inbox or ours.relays:
        if ours.relays:
            ours.relay(ours.relays.pop(0))
        elif ours.inbox[0][0].path == "each[1]/bad":
            bad = attempts.take(ours, "each[1]/bad")
        else:
            message, in_chord = ours.inbox.pop(0)
            ours.carrier.carry(message, in_chord=in_chord)
    assert bad is not None
    assert child(ours, run_id).status == "running"
    attempts.end(ours, bad)
    ours.drain()
    assert (ours.statuses(run_id)["each"], child(ours, run_id).status) == ("failed", "aborted")
    sound(ours)
