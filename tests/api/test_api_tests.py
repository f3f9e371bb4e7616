"""`POST /api/workflows/{workflow}/test`: with mocks, over HTTP, and with nothing left behind."""

import threading
import time
from typing import Any

import pytest

from tests.api.conftest import DISPATCHED, ROUTED, Api

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])
REVIEWED: dict[str, Any] = {
    "name": "reviewed",
    "nodes": [
        {"id": "score", "type": "agent", "agent": "x", "retry": {"max_attempts": 2, "initial": 1}},
        {"id": "review", "type": "approval", "expires": "3d"},
        {"id": "mail", "type": "http", "url": "http://127.0.0.1:9/{{score.output.n}}"},
    ],
    "edges": ["score >> review >> mail"],
    "outputs": {"n": "{{score.output.n}}"},
}
MOCKS = {"score": {"outputs": [{"error": {"code": "NETWORK"}}, {"n": 4}]}, "mail": {"ok": True}}


@pytest.fixture
def reviewed(api: Api) -> Api:
    assert api.call("POST", "/api/workflows", json=REVIEWED).status_code == 201
    return api


def tried(api: Api, name: str = "reviewed", status: int = 200, **body: Any) -> Any:
    answer = api.call("POST", f"/api/workflows/{name}/test", json=body)
    assert answer.status_code == status, answer.text
    return answer.get_json()


def test_it_runs_with_mocks_and_a_script(reviewed: Api) -> None:
    found = tried(reviewed, mocks=MOCKS, script=[{"after": "2d", "approve": "review", "by": "ann"}])
    assert (found["status"], found["outputs"], found["unmocked"]) == ("success", {"n": 4}, [])
    assert found["elapsed_virtual_seconds"] > 2 * 86_400
    assert [(step["path"], step["attempts"]) for step in found["steps"]] == [("score", 2), ("review", 1), ("mail", 1)]
    assert found["events"][-1]["type"] == "run.completed"
    assert reviewed.call("GET", "/api/runs").get_json()["items"] == []


def test_what_is_not_mocked_is_named_and_nothing_is_sent(reviewed: Api) -> None:
    found = tried(reviewed, script=[])
    assert (found["status"], found["unmocked"], found["waiting"]) == ("running", ["score"], ["score"])
    found = tried(reviewed, mocks={"score": {"n": 1}, "review": {}})
    assert found["unmocked"] == ["mail"]


def test_another_definition_and_an_expired_approval(reviewed: Api) -> None:
    other = {**REVIEWED, "outputs": {"other": 1}}
    found = tried(reviewed, definition=other, mocks=MOCKS, script=[{"approve": "review"}])
    assert found["outputs"] == {"other": 1}
    found = tried(reviewed, mocks=MOCKS, script=[{"after": "4d"}])
    assert (found["status"], found["error"]["code"]) == ("failed", "EXPIRED")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"definition": {"name": "w", "nodes": [{"id": "a", "type": "teleport"}]}}, "/definition/nodes/0/type"),
        ({"mocks": {"score": {"error": {"code": "NO_SUCH"}}}}, "/mocks/score"),
        ({"mocks": {"score": {"outputs": []}}}, "/mocks/score/outputs"),
        ({"script": [{"approve": "review", "reject": "review"}]}, "/script/0"),
        ({"script": [{"after": "soon"}]}, "/script/0/after"),
        ({"mocks": MOCKS, "script": [{"resume": {}}]}, "/script/0/resume"),
        ({"mocks": {"score": 1, "nobody": 1}}, "/mocks"),
        ({"history": {"version": 7}}, "/history"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(reviewed: Api, body: dict[str, Any], pointer: str) -> None:
    found = tried(reviewed, status=422, **body)
    assert [error["pointer"] for error in found["errors"]] == [pointer]


def test_inputs_are_checked_as_by_the_trigger(api: Api) -> None:
    api.call("POST", "/api/workflows", json=ROUTED)
    found = tried(api, "triage", status=422, inputs={"amount": "many"})
    assert found["errors"][0]["pointer"] == "/inputs/amount"
    assert tried(api, "nobody", status=404)["code"] == "NOT_FOUND"


def test_an_expression_that_would_hold_the_process_is_ended_and_holds_up_nobody(api: Api) -> None:
    slow = '$match($join([1..40].("a")) & "!", /^(a+)+$/)'
    nodes = [{"id": "a", "type": "transform", "expression": slow}]
    answers: list[Any] = []
    thread = threading.Thread(
        target=lambda: answers.append(tried(api, "slow", definition={"name": "slow", "nodes": nodes}))
    )
    api.call("POST", "/api/workflows", json={**DISPATCHED, "name": "slow"})
    thread.start()
    slowest = 0.0
    while thread.is_alive():
        began = time.perf_counter()
        assert api.call("GET", "/api/workflows").status_code == 200
        slowest = max(slowest, time.perf_counter() - began)
    thread.join()
    assert answers[0]["status"] == "failed"
    assert answers[0]["error"]["code"] == "TIMEOUT"
    assert slowest < 2


def test_a_test_that_has_no_end_is_refused(api: Api) -> None:
    body = {"nodes": [{"id": "b", "type": "http", "url": "http://127.0.0.1:9"}], "edges": []}
    node = {"id": "a", "type": "loop", "mode": "while", "condition": "true", "max_iterations": 9_000, "body": body}
    api.call("POST", "/api/workflows", json={**DISPATCHED, "name": "endless"})
    found = tried(api, "endless", 422, definition={"name": "endless", "nodes": [node]}, mocks={"b": 1})
    assert "more than 1,000 attempts" in found["detail"] or "time of the test" in found["detail"]


def test_a_recorded_run_is_replayed(api: Api) -> None:
    from orchestrator.testing.replay import of_run

    api.call("POST", "/api/workflows", json=DISPATCHED)
    started = api.call("POST", "/api/workflows/dispatched/runs", json={"inputs": {"n": 2}}).get_json()
    api.engine.drain()
    history = of_run(api.engine.deps, api.engine.actor, started["id"])
    assert tried(api, "dispatched", history=history)["same"] is True
    changed = {**DISPATCHED, "outputs": {"n": "{{second.again}}"}}
    found = tried(api, "dispatched", history=history, definition=changed)
    assert (found["same"], found["differences"][0]["path"]) == (False, None)


def test_it_takes_the_scope_define(api: Api) -> None:
    api.define(DISPATCHED)
    body = {"inputs": {"n": 1}}
    assert api.with_key("operate", "read").post("/api/workflows/dispatched/test", body).status_code == 403
    assert api.with_key("define").post("/api/workflows/dispatched/test", body).status_code == 200
