"""Recorded runs against other versions: what is the same, what is named as different."""

import json
from typing import Any

import pytest

from models.errors import InvalidError
from orchestrator.testing import Env, Fail, record, replay

LONG = """
name: long
nodes:
  - {id: a, type: agent, agent: x, retry: {max_attempts: 2, initial: 10s}}
  - {id: s, type: signal, signal: go}
  - {id: p, type: pause, expected_input: {type: object}}
  - {id: ask, type: approval, required: 2}
  - {id: w, type: wait, duration: 3d}
  - {id: h, type: http, url: "https://example.com"}
  - {id: n, type: set, values: {x: "{{h.body}}"}}
edges: ["a >> s >> p >> ask >> w >> h >> n"]
outputs: {x: "{{var.x}}", again: "{{p.k}}"}
"""
CHOICE: dict[str, Any] = {
    "name": "choice",
    "nodes": [
        {"id": "get", "type": "http", "url": "https://example.com"},
        {"id": "big", "type": "condition", "expression": "get.body.n > 10"},
        {"id": "yes", "type": "http", "url": "https://example.com/yes"},
        {"id": "no", "type": "noop"},
        {"id": "side", "type": "http", "url": "https://example.com/side"},
        {"id": "other", "type": "http", "url": "https://example.com/other"},
    ],
    "edges": [
        "get >> big",
        {"from": "big", "to": "yes", "route": True},
        {"from": "big", "to": "no", "route": False},
        "get >> side",
    ],
}


@pytest.fixture(scope="module")
def long() -> dict[str, Any]:
    """The history of a run with every kind of act."""
    with Env() as env:
        env.mock("a", [Fail("NETWORK"), {"score": 80}]).mock("h", [Fail("TOOL_FAILED"), 3])
        run = env.run(LONG)
        run.signal("go", {"d": 1}, id="7").set({"v": 2}, reason="why not")
        run.resume({"k": 1}).approve(by="ann").approve(by="bob")
        assert run.status == "failed"
        run.retry("h").rerun("s").complete("s", {"z": 1})
        run.resume({"k": 2}).approve(by="ann").approve(by="bob")
        assert run.status == "success"
        found: dict[str, Any] = json.loads(json.dumps(record(run)))
        return found


@pytest.fixture(scope="module")
def choice() -> dict[str, Any]:
    with Env() as env:
        env.mock_type("http", {"n": 5})
        return record(env.run(CHOICE))


def changed(node: str | None = None, edges: list[Any] | None = None, **fields: Any) -> dict[str, Any]:
    nodes = [{**each, **fields} if each["id"] == node else each for each in CHOICE["nodes"]]
    return {**CHOICE, "nodes": nodes, "edges": edges or CHOICE["edges"]}


def found(history: dict[str, Any], definition: Any) -> list[tuple[str | None, Any, Any]]:
    return [(each.path, each.was, each.now) for each in replay(history, definition).differences]


def test_a_long_history_is_the_same(long: dict[str, Any]) -> None:
    replayed = replay(long, LONG)
    replayed.check()
    assert (replayed.status, replayed.outputs) == ("success", {"x": 3, "again": 2})


def test_a_wait_or_a_prompt_that_changed_is_no_difference(long: dict[str, Any]) -> None:
    assert replay(long, LONG.replace("3d", "9d").replace("agent: x", "agent: y")).same


def test_outputs_that_changed(long: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="the run: its outputs are others"):
        replay(long, LONG.replace("{{var.x}}", "{{var.v}}")).check()


def test_an_abort_meets_the_steps_that_it_met() -> None:
    with Env() as env:
        env.mock("a", {"score": 1})
        history = record(env.run(LONG).abort("enough"))
    assert replay(history, LONG).same
    assert found(history, LONG.replace("a >> s >> p", "s >> a >> p"))[0][0] == "a"


def test_another_route_needs_what_nobody_recorded(choice: dict[str, Any]) -> None:
    assert replay(choice, changed()).same
    differences = found(choice, changed("big", expression="get.body.n > 1"))
    assert ("yes", "skipped", "would begin") in differences
    assert ("big", "false", "true") in differences


def test_a_step_that_begins_after_another(choice: dict[str, Any]) -> None:
    edges = [*CHOICE["edges"][:3], "other >> side"]
    assert ("side", "get", "other") in found(choice, changed(edges=edges))


def test_a_step_that_is_new_or_gone(choice: dict[str, Any]) -> None:
    text = json.dumps(CHOICE).replace("side", "aside")
    differences = found(choice, json.loads(text))
    assert differences[:2] == [("aside", None, "would begin"), ("side", "success", None)]


def test_a_step_of_another_type_and_a_noop_in_between(choice: dict[str, Any]) -> None:
    assert ("no", "noop", "set") in found(choice, changed("no", type="set", values={"x": 1}))
    between = {**CHOICE, "nodes": [*CHOICE["nodes"], {"id": "mark", "type": "noop"}]}
    between["edges"] = [*CHOICE["edges"][:3], "get >> mark >> side"]
    assert replay(choice, between).same


def test_what_is_no_history_is_refused() -> None:
    with pytest.raises(InvalidError, match="orchestrator history RUN"):
        replay({"version": 2}, CHOICE)


def test_events_of_ones_own_are_told_again() -> None:
    definition = {
        "name": "telling",
        "nodes": [
            {"id": "get", "type": "http", "url": "https://example.com"},
            {"id": "tell", "type": "emit", "event": "deal.signed", "data": {"n": "{{get.body}}"}},
        ],
        "edges": ["get >> tell"],
    }
    with Env() as env:
        run = env.mock("get", [{"status": 200, "headers": {}, "body": 7}]).run(definition)
        assert run.status == "success"
        history = json.loads(json.dumps(record(run)))
    assert [event["data"] for event in history["events"] if event["type"] == "deal.signed"] == [{"n": 7}]
    assert replay(history, definition).same
