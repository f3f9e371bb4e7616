"""Checkpoints, restores, comparisons and forks over HTTP."""

from typing import Any

import pytest

from tests.api.conftest import Api
from tests.support.probes import probe

CHAIN: dict[str, Any] = {
    "name": "chain",
    "inputs": {"type": "object", "properties": {"n": {"type": "integer"}}},
    "variables": {"tone": "stiff"},
    "nodes": [probe("a"), probe("b"), probe("c")],
    "edges": ["a >> b >> c"],
}


@pytest.fixture
def run(api: Api) -> str:
    """A run that has succeeded."""
    api.define(CHAIN)
    return str(api.run("chain", inputs={"n": 1})["id"])


def ended(api: Api, run: str) -> Any:
    api.engine.drain()
    return api.done(api.get(f"/api/runs/{run}"))


def test_a_checkpoint_is_made_listed_and_gone_back_to(api: Api, run: str) -> None:
    made = api.done(api.post(f"/api/runs/{run}/checkpoints", {"name": "done", "reason": "to be safe"}), 201)
    assert (made["name"], made["automatic"], made["reason"]) == ("done", False, "to be safe")
    assert made["at"].endswith("Z")
    found = api.done(api.get(f"/api/runs/{run}/checkpoints"))
    assert [each["name"] for each in found["items"]] == ["after:a", "after:b", "after:c", "done"]
    assert found["next_cursor"] is None
    answer = api.done(api.post(f"/api/runs/{run}/checkpoints/after:a/restore", {"reason": "again"}))
    assert (answer["id"], answer["status"]) == (run, "running")
    assert ended(api, run)["status"] == "success"
    assert api.done(api.get(f"/api/runs/{run}/steps/b"))["attempts"] == 2
    assert api.done(api.get(f"/api/runs/{run}/steps/a"))["attempts"] == 1


def test_two_positions_are_compared(api: Api, run: str) -> None:
    found = api.done(api.get(f"/api/runs/{run}/checkpoints/diff", **{"from": "after:a", "to": "after:b"}))
    assert found["from"]["name"] == "after:a"
    assert [(each["path"], each["to"]["status"]) for each in found["steps"]] == [("b", "success")]
    assert found["variables"] == {"added": [], "removed": [], "changed": []}
    api.done(api.get(f"/api/runs/{run}/checkpoints/diff", **{"from": "after:a"}), 422)


def test_a_fork_is_answered_like_a_trigger(api: Api, run: str) -> None:
    body = {"from_step": "b", "inputs": {"n": 2}, "variables": {"tone": "warm"}, "reason": "a better prompt"}
    key = {"Idempotency-Key": "one"}
    answer = api.post(f"/api/runs/{run}/fork", body, headers=key)
    forked = api.done(answer, 202)
    assert answer.headers["Location"] == f"/api/runs/{forked['id']}"
    assert forked["forked_from"]["run_id"] == run
    assert forked["forked_from"]["from_step"] == "b"
    assert (forked["inputs"], forked["variables"]) == ({"n": 2}, {"tone": "warm"})
    assert api.done(api.post(f"/api/runs/{run}/fork", body, headers=key), 202)["id"] == forked["id"]
    assert ended(api, forked["id"])["status"] == "success"
    log = api.done(api.get(f"/api/runs/{forked['id']}/events", limit=200))["items"]
    assert [e["step"] for e in log if "copied" in e["data"]] == ["a"]
    assert [e["step"] for e in log if e["type"] == "step.started"] == ["b", "c"]


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({}, 422, "/from_step"),
        ({"from_step": "b", "seq": 3}, 422, "/seq"),
        ({"seq": 9_999}, 422, "/seq"),
        ({"seq": 0}, 422, "/seq"),
        ({"from_step": "b", "inputs": {"n": "two"}}, 422, "/inputs/n"),
        ({"from_step": "b", "variables": {"no name": 1}}, 422, "/variables/no name"),
        ({"from_step": "nobody"}, 404, None),
        ({"checkpoint": "nowhere"}, 404, None),
    ],
)
def test_a_fork_that_is_refused_says_where(
    api: Api, run: str, body: dict[str, Any], status: int, pointer: str | None
) -> None:
    answer = api.done(api.post(f"/api/runs/{run}/fork", body), status)
    assert [error["pointer"] for error in answer["errors"]] == ([] if pointer is None else [pointer])
    assert len(api.done(api.get("/api/runs"))["items"]) == 1


def test_names_are_checked_and_given_once(api: Api, run: str) -> None:
    path = f"/api/runs/{run}/checkpoints"
    api.done(api.post(path, {"name": "one"}), 201)
    api.done(api.post(path, {"name": "one"}), 409)
    refused = api.done(api.post(path, {"name": "after:a"}), 422)
    assert [error["pointer"] for error in refused["errors"]] == ["/name"]
    api.done(api.post(f"{path}/nowhere/restore"), 404)
    api.done(api.post(f"{path}/9999/restore"), 422)


@pytest.mark.parametrize("name", ["²", "٣", "9" * 5_000])
def test_what_only_looks_like_a_number_is_no_checkpoint(api: Api, run: str, name: str) -> None:
    api.done(api.post(f"/api/runs/{run}/checkpoints/{name}/restore"), 404)
    api.done(api.get(f"/api/runs/{run}/checkpoints/diff", **{"from": name[:255], "to": "after:b"}), 404)
    api.done(api.post(f"/api/runs/{run}/fork", {"checkpoint": name[:255]}), 404)


def test_others_see_none_of_it(api: Api, run: str) -> None:
    other = api.elsewhere()
    other.done(other.get(f"/api/runs/{run}/checkpoints"), 404)
    other.done(other.post(f"/api/runs/{run}/checkpoints", {"name": "one"}), 404)
    other.done(other.post(f"/api/runs/{run}/fork", {"seq": 1}), 404)
    reader = api.with_key("read")
    reader.done(reader.get(f"/api/runs/{run}/checkpoints"))
    reader.done(reader.post(f"/api/runs/{run}/fork", {"seq": 1}), 403)
