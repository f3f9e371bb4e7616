"""Called runs over HTTP: whose they are, what a run has called, and control of both."""

from typing import Any

import pytest

from tests.api.conftest import Api

GREET: dict[str, Any] = {"name": "greet", "nodes": [{"id": "say", "type": "noop"}], "edges": []}
WAITS: dict[str, Any] = {
    "name": "waits",
    "nodes": [{"id": "w", "type": "probe", "does": {"wait": "a person"}}],
    "edges": [],
}


def caller(name: str, workflow: str, **fields: Any) -> dict[str, Any]:
    node = {"id": "it", "type": "subworkflow", "workflow": workflow, **fields}
    return {"name": name, "nodes": [node], "edges": []}


@pytest.fixture
def defined(api: Api) -> Api:
    for definition in (GREET, WAITS, caller("above", "greet"), caller("parks", "waits")):
        api.define(definition)
    return api


def test_a_caller_and_what_it_called_know_each_other(defined: Api) -> None:
    run = defined.run("above", inputs={"n": 1})
    assert (run["status"], run["outputs"]) == ("success", {"it": {"say": {"n": 1}}})
    (below,) = defined.done(defined.get("/api/runs", parent=run["id"]))["items"]
    assert (below["parent_run_id"], run["parent_run_id"]) == (run["id"], None)
    step = defined.done(defined.get(f"/api/runs/{run['id']}/steps/it"))
    assert (step["called_run_id"], step["waiting_for"]) == (below["id"], None)
    assert [entry["called_run_id"] for entry in step["attempt_log"]] == [below["id"]]
    first = defined.done(defined.get(f"/api/runs/{below['id']}/events"))["items"][0]
    assert first["data"]["caller"] == {"run_id": run["id"], "step": "it"}
    steps = defined.done(defined.get(f"/api/runs/{below['id']}/steps"))["items"]
    assert ["called_run_id" in item for item in steps] == [False]
    assert '"' in defined.get(f"/api/runs/{run['id']}/mermaid").text


def test_control_goes_down_and_what_is_paused_with_its_caller_is_resumed_with_it(defined: Api) -> None:
    run = defined.run("parks")
    step = defined.done(defined.get(f"/api/runs/{run['id']}/steps/it"))
    below = f"/api/runs/{step['called_run_id']}"
    assert step["waiting_for"] == f"run {step['called_run_id']}"
    defined.done(defined.post(f"/api/runs/{run['id']}/pause"))
    defined.engine.drain()
    assert defined.done(defined.get(below))["status"] == "paused"
    refused = defined.done(defined.post(f"{below}/resume"), 409)
    assert run["id"] in refused["detail"]
    defined.done(defined.post(f"/api/runs/{run['id']}/resume"))
    defined.engine.drain()
    assert defined.done(defined.get(below))["status"] == "running"
    defined.done(defined.post(f"/api/runs/{run['id']}/abort", {"reason": "enough"}))
    defined.engine.drain()
    ended = defined.done(defined.get(below))
    assert (ended["status"], ended["error"]["code"]) == ("aborted", "CANCELLED")
    assert run["id"] in ended["error"]["message"]


def test_a_workflow_of_another_workspace_is_not_there(defined: Api) -> None:
    other = defined.elsewhere()
    other.define(caller("above", "greet"))
    started = other.done(other.post("/api/workflows/above/runs", {}), 202)
    other.engine.drain()
    run = other.done(other.get(f"/api/runs/{started['id']}"))
    assert (run["status"], run["error"]["code"]) == ("failed", "VALIDATION")


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_an_estimate_with_a_call_is_a_lower_bound(api: Api) -> None:
    found = api.done(api.post("/api/workflows/validate", caller("above", "greet")))
    assert (found["valid"], found["estimate_is_lower_bound"]) == (True, True)
