"""Compensation over HTTP: by hand, after an abort, once more, and as runs and steps show it."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.api.conftest import Api

ONCE = {"type": "probe", "does": [{"fail": "TOOL_FAILED", "transient": False}, {}]}
DEFINITION: dict[str, Any] = {
    "name": "undone",
    "nodes": [
        {"id": "a", "type": "probe", "does": {"succeed": {"id": 1}}, "compensate": {"type": "noop"}},
        {"id": "b", "type": "probe", "compensate": ONCE},
        {"id": "c", "type": "probe", "does": {"fail": "TOOL_FAILED"}},
    ],
    "edges": ["a >> b >> c"],
}
WAITS: dict[str, Any] = {
    "name": "waits",
    "nodes": [
        {"id": "a", "type": "probe", "compensate": {"type": "probe"}},
        {"id": "hold", "type": "probe", "does": {"wait": "for ever"}},
    ],
    "edges": ["a >> hold"],
}
KEY = {"Idempotency-Key": "undo-1"}
FAILED = {"step": "b", "code": "TOOL_FAILED", "message": "told to fail"}


@pytest.fixture
def defined(api: Api) -> Api:
    for definition in (DEFINITION, WAITS):
        api.define(definition)
    return api


def read(api: Api, run: str) -> Any:
    api.engine.drain()
    return api.done(api.get(f"/api/runs/{run}"))


def test_what_could_not_be_undone_is_shown_and_tried_again(defined: Api) -> None:
    run = read(defined, defined.run("undone")["id"])
    assert (run["status"], run["compensation_failed"]) == ("failed", True)
    assert run["compensation"] == {"status": "failed", "done": [], "failed": FAILED, "remaining": ["a"]}
    assert run["step_counts"] == {"success": 1, "failed": 2}
    key = defined.post(f"/api/runs/{run['id']}/compensate", {"reason": "it is back"}, headers=KEY)
    assert defined.done(key)["status"] == "compensating"
    ended = read(defined, run["id"])
    assert (ended["status"], ended["compensation_failed"]) == ("compensated", False)
    assert ended["compensation"] == {"status": "compensated", "done": ["b", "a"], "failed": None, "remaining": []}
    again = defined.post(f"/api/runs/{run['id']}/compensate", {"reason": "it is back"}, headers=KEY)
    assert defined.done(again)["status"] == "compensating"
    refused = defined.post(f"/api/runs/{run['id']}/compensate")
    assert refused.status_code == 409
    assert "nothing is left" in refused.json["detail"]
    events = defined.done(defined.get(f"/api/runs/{run['id']}/events", limit=200))["items"]
    told = [event for event in events if event["type"] == "run.compensating"]
    assert told[1]["data"] == {"reason": "it is back", "was": "failed"}
    assert told[1]["actor"]


def test_steps_show_their_compensation(defined: Api) -> None:
    run = read(defined, defined.run("undone")["id"])["id"]
    steps = {step["path"]: step for step in defined.done(defined.get(f"/api/runs/{run}/steps"))["items"]}
    assert list(steps) == ["a", "b", "c"]
    assert "compensation" not in steps["c"]
    assert steps["a"]["compensation"] is None
    shown = steps["b"]["compensation"]
    assert (shown["status"], shown["attempts"], shown["error"]["code"]) == ("failed", 1, "TOOL_FAILED")
    for path in ("b:compensate", quote("b:compensate", safe="")):
        whole = defined.done(defined.get(f"/api/runs/{run}/steps/{path}"))
        assert (whole["type"], whole["status"], len(whole["attempt_log"])) == ("probe", "failed", 1)
    spans = defined.done(defined.get(f"/api/runs/{run}/timeline"))["items"]
    assert spans[-1]["path"] == "b:compensate"


def test_an_abort_that_compensates(defined: Api) -> None:
    run = read(defined, defined.run("waits")["id"])["id"]
    aborted = defined.done(defined.post(f"/api/runs/{run}/abort", {"reason": "no", "compensate": True}))
    assert aborted["status"] == "compensating"
    assert defined.post(f"/api/runs/{run}/pause").status_code == 409
    assert read(defined, run)["status"] == "compensated"


def test_an_abort_without(defined: Api) -> None:
    run = read(defined, defined.run("waits")["id"])["id"]
    assert defined.post(f"/api/runs/{run}/compensate").status_code == 409
    assert defined.done(defined.post(f"/api/runs/{run}/abort"))["status"] == "aborted"
    assert defined.post(f"/api/runs/{run}/abort", {"compensate": True}).status_code == 409
    assert defined.done(defined.post(f"/api/runs/{run}/compensate"))["status"] == "compensating"
    assert read(defined, run)["status"] == "compensated"
