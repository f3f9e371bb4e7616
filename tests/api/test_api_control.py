"""An operator over HTTP: steps, variables, overrides, and many runs at once."""

from typing import Any

import pytest

from tests.api.conftest import Api

DOES = [{"fail": "TOOL_FAILED"}, {"succeed": {"late": True}}]
FAILS: dict[str, Any] = {
    "name": "fails",
    "nodes": [{"id": "a", "type": "probe", "does": DOES}, {"id": "b", "type": "noop"}],
    "edges": ["a >> b"],
}
PARKS: dict[str, Any] = {
    "name": "parks",
    "variables": {"region": "eu"},
    "nodes": [
        {"id": "hold", "type": "probe", "does": {"wait": "for ever"}},
        {"id": "after", "type": "noop", "input_mapping": {"region": "{{var.region}}"}},
    ],
    "edges": ["hold >> after"],
}
BODY = {"nodes": [{"id": "x", "type": "probe", "does": {"wait": "for ever"}}]}
NESTED: dict[str, Any] = {
    "name": "nested",
    "nodes": [{"id": "each", "type": "parallel", "count": 2, "body": BODY}],
}


@pytest.fixture
def defined(api: Api) -> Api:
    for definition in (FAILS, PARKS, NESTED):
        api.define(definition)
    return api


def steps(api: Api, run: str) -> dict[str, str]:
    return {s["path"]: s["status"] for s in api.done(api.get(f"/api/runs/{run}/steps"))["items"]}


def read(api: Api, run: str) -> Any:
    api.engine.drain()
    return api.done(api.get(f"/api/runs/{run}"))


def log(api: Api, run: str, type_: str) -> list[Any]:
    events = api.done(api.get(f"/api/runs/{run}/events", limit=200))["items"]
    return [event for event in events if event["type"] == type_]


def test_a_failed_step_is_retried(defined: Api) -> None:
    run = defined.run("fails")["id"]
    answer = defined.done(defined.post(f"/api/runs/{run}/steps/a/retry", {"reason": "it is back"}))
    assert (answer["id"], answer["status"], answer["error"]) == (run, "running", None)
    ended = read(defined, run)
    assert (ended["status"], ended["outputs"]) == ("success", {"b": {"late": True}})
    (reopened,) = log(defined, run, "run.reopened")
    assert reopened["data"] == {"act": "retry", "reason": "it is back", "step": "a", "was": "failed"}
    assert reopened["actor"]


def test_a_refusal_says_the_state_and_the_remedy(defined: Api) -> None:
    run = defined.run("fails")["id"]
    defined.done(defined.post(f"/api/runs/{run}/steps/a/complete", {"output": {"by": "hand"}}))
    assert read(defined, run)["outputs"] == {"b": {"by": "hand"}}
    refused = defined.done(defined.post(f"/api/runs/{run}/steps/a/retry"), 409)
    assert refused["detail"] == (
        "step a is success; only one that is failed can be retried: rerun it to do it and all behind it anew"
    )
    defined.done(defined.post(f"/api/runs/{run}/steps/a/rerun"))
    assert read(defined, run)["status"] == "success"


@pytest.mark.parametrize("path", ["each[1]/x", "each%5B1%5D%2Fx"])
def test_a_path_is_raw_or_encoded(defined: Api, path: str) -> None:
    run = defined.run("nested")["id"]
    defined.done(defined.post(f"/api/runs/{run}/steps/{path}/complete", {"output": 1, "reason": "known"}))
    defined.done(defined.post(f"/api/runs/{run}/steps/each[0]/x/skip", {"reason": "no need"}))
    assert read(defined, run)["outputs"] == {"each": {"results": [None, 1], "count": 2, "failed": 0}}


@pytest.mark.parametrize("act", ["retry", "skip", "complete", "rerun", "override"])
def test_what_is_not_there(defined: Api, act: str) -> None:
    run = defined.run("fails")["id"]
    body = {"complete": {"output": 1}, "override": {"timeout": "5s"}}.get(act, {})
    for path in (f"/api/runs/{run}/steps/nobody/{act}", f"/api/runs/nothing/steps/a/{act}"):
        defined.done(defined.post(path, body), 404)
    assert defined.elsewhere().post(f"/api/runs/{run}/steps/a/{act}", body).status_code == 404
    assert defined.with_key("read").post(f"/api/runs/{run}/steps/a/{act}", body).status_code == 403
    defined.done(defined.post(f"/api/runs/{run}/steps/a/{act}", body | {"what": 1}), 422)


def test_an_output_is_needed_and_checked(defined: Api) -> None:
    run = defined.run("parks")["id"]
    missing = defined.done(defined.post(f"/api/runs/{run}/steps/hold/complete", {}), 422)
    assert missing["errors"][0]["pointer"] == "/output"
    big = {"output": "x" * 900_000}
    refused = defined.post(f"/api/runs/{run}/steps/hold/complete", big)
    assert (refused.status_code, steps(defined, run)["hold"]) in ((422, "waiting"), (200, "success"))
    defined.done(defined.post(f"/api/runs/{run}/steps/after/skip"), 200)


def test_a_repeat_under_the_same_key_acts_once(defined: Api) -> None:
    run = defined.run("fails")["id"]
    keyed = {"headers": {"Idempotency-Key": "once"}}
    first = defined.done(defined.post(f"/api/runs/{run}/steps/a/retry", {}, **keyed))
    assert read(defined, run)["status"] == "success"
    again = defined.post(f"/api/runs/{run}/steps/a/retry", {}, **keyed)
    assert (defined.done(again), again.headers["Idempotent-Replayed"]) == (first, "true")
    assert len(log(defined, run, "run.reopened")) == 1


def test_variables_are_set_while_a_run_goes_on(defined: Api) -> None:
    run = defined.run("parks")["id"]
    answer = defined.done(
        defined.post(f"/api/runs/{run}/variables", {"set": {"region": "us", "n": 1}, "reason": "moved"})
    )
    assert answer["variables"] == {"region": "us", "n": 1}
    assert [(e["data"]["key"], e["data"]["reason"], bool(e["actor"])) for e in log(defined, run, "variable.set")] == [
        ("region", "moved", True), ("n", "moved", True),
    ]  # fmt: skip
    defined.done(defined.post(f"/api/runs/{run}/variables", {"set": {"not a name": 1}}), 422)
    defined.done(defined.post(f"/api/runs/{run}/steps/hold/complete", {"output": {}}))
    assert read(defined, run)["outputs"] == {"after": {"region": "us"}}
    refused = defined.done(defined.post(f"/api/runs/{run}/variables", {"set": {"region": "eu"}}), 409)
    assert "is success" in refused["detail"]


RETRY = {"max_attempts": 5, "initial": "1h", "max": "1h"}
TRIED: dict[str, Any] = {
    "name": "tried",
    "nodes": [{"id": "a", "type": "probe", "does": {"fail": "NETWORK"}, "retry": RETRY}],
}


def test_a_retry_that_waits_follows_an_override(api: Api) -> None:
    api.define(TRIED)
    run = api.run("tried")["id"]
    assert (steps(api, run), api.engine.timers) == ({"a": "retrying"}, [])
    body = {"retry": {"initial": 0, "jitter": 0}, "timeout": "7s", "reason": "hurry"}
    api.done(api.post(f"/api/runs/{run}/steps/a/override", body))
    assert len(api.engine.timers) == 1
    api.engine.sweep()
    api.engine.drain()
    assert api.done(api.get(f"/api/runs/{run}/steps/a"))["attempts"] == 2
    (applied,) = log(api, run, "override.applied")
    assert (applied["step"], bool(applied["actor"])) == ("a", True)
    assert applied["data"] == {"retry": {"initial": 0, "jitter": 0}, "timeout": 7, "reason": "hurry"}
    api.done(api.post(f"/api/runs/{run}/steps/a/override", {"retry": {"policy": "never"}}))
    assert (steps(api, run), read(api, run)["status"]) == ({"a": "failed"}, "failed")


def test_an_override_at_trigger_is_told(api: Api) -> None:
    api.define(TRIED)
    overrides = {"retry": {"max_attempts": 1}, "nodes": {"a": {"timeout": "5s"}}}
    run = api.run("tried", overrides=overrides)
    assert run["status"] == "failed"
    (applied,) = log(api, run["id"], "override.applied")
    assert applied["data"] == {"retry": {"max_attempts": 1}, "nodes": {"a": {"timeout": 5}}}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"timeout": 0},
        {"retry": {"initial": "2h", "max": "1h"}},
        {"retry": {"retry_on": ["REJECTED"]}},
        {"retry": {"policy": "sometimes"}},
        {"retry": {"condition": "1 +"}},
    ],
)
def test_overrides_that_make_no_sense(defined: Api, body: dict[str, Any]) -> None:
    run = defined.run("parks")["id"]
    assert defined.post(f"/api/runs/{run}/steps/hold/override", body).status_code == 422


def test_many_runs_at_once(defined: Api) -> None:
    ours = [defined.run("fails", labels={"team": "sales"})["id"] for _ in range(3)]
    other = defined.run("fails")["id"]
    parked = defined.run("parks", labels={"team": "sales"})["id"]
    body = {"action": "retry", "filter": {"label": ["team:sales"]}, "reason": "the tool is back"}
    keyed = {"headers": {"Idempotency-Key": "bulk-1"}}
    answer = defined.done(defined.post("/api/runs/bulk", body, **keyed))
    shown = {item["id"]: (item["done"], item["status"]) for item in answer["items"]}
    assert shown == dict.fromkeys(ours, (True, "running")) | {parked: (False, "running")}
    assert answer["items"][0]["error"]["code"] == "CONFLICT"
    assert {read(defined, run)["status"] for run in ours} == {"success"}
    assert read(defined, other)["status"] == "failed"
    again = defined.post("/api/runs/bulk", body, **keyed)
    assert (defined.done(again), again.headers["Idempotent-Replayed"]) == (answer, "true")


def test_a_bulk_act_is_taken_in_pages(defined: Api) -> None:
    parked = [defined.run("parks")["id"] for _ in range(5)]
    body: dict[str, Any] = {"action": "abort", "filter": {"workflow": "parks"}, "reason": "enough", "limit": 3}
    first = defined.done(defined.post("/api/runs/bulk", body))
    rest = defined.done(defined.post("/api/runs/bulk", body | {"cursor": first["next_cursor"]}))
    assert [item["id"] for item in first["items"] + rest["items"]] == parked[::-1]
    assert rest["next_cursor"] is None
    assert {read(defined, run)["status"] for run in parked} == {"aborted"}


def test_pauses_and_resumes_of_many(defined: Api) -> None:
    run = defined.run("parks")["id"]
    for action, before, status in (("pause", "running", "paused"), ("resume", "paused", "running")):
        body = {"action": action, "filter": {"workflow": "parks", "status": before}}
        (item,) = defined.done(defined.post("/api/runs/bulk", body))["items"]
        assert (item["id"], item["status"]) == (run, status)


@pytest.mark.parametrize(
    "body", [{"action": "delete", "filter": {"workflow": "w"}}, {"action": "abort", "filter": {}}, {"action": "abort"}]
)
def test_bulk_acts_that_make_no_sense(api: Api, body: dict[str, Any]) -> None:
    assert api.post("/api/runs/bulk", body).status_code == 422
