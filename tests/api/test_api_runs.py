"""Runs, steps and events as they are read; pause, resume, abort."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from tests.api.conftest import DISPATCHED, ROUTED, Api
from tests.support.engine import Engine

RUN_FIELDS = {
    "id", "workflow", "version", "status", "inputs", "outputs", "variables", "error", "degraded",
    "cost_microcents",
    "step_counts", "labels", "parent_run_id", "created_at", "started_at", "finished_at",
    "compensation", "compensation_failed", "forked_from",
}  # fmt: skip
STEP_FIELDS = {
    "path", "node", "type", "status", "attempts", "route", "input", "output", "error", "degraded",
    "agent", "model", "tokens",
    "cost_microcents", "waiting_for", "created_at", "started_at", "finished_at",
}  # fmt: skip
FAILING = {
    "name": "failing",
    "nodes": [
        {
            "id": "bad",
            "type": "transform",
            "expression": "$error('no good')",
            "retry": {"max_attempts": 2, "initial": 0},
        },
        {"id": "after", "type": "noop"},
    ],
    "edges": ["bad >> after"],
}


@pytest.fixture
def defined(api: Api) -> Api:
    for definition in (ROUTED, DISPATCHED):
        api.define(definition)
    return api


def by_path(api: Api, run_id: str) -> dict[str, Any]:
    return {step["path"]: step for step in api.done(api.get(f"/api/runs/{run_id}/steps"))["items"]}


def test_a_run_has_exactly_its_fields(defined: Api) -> None:
    run = defined.run("triage", inputs={"amount": 500}, labels={"team": "sales"})

    assert set(run) == RUN_FIELDS
    assert run["step_counts"] == {"success": 3, "skipped": 1}
    assert run["outputs"] == {"large": {"amount": 500, "kind": "large"}}
    assert run["variables"] == {"seen": 500}
    assert run["labels"] == {"team": "sales"}
    assert run["error"] is None
    for moment in ("created_at", "started_at", "finished_at"):
        assert datetime.fromisoformat(run[moment]).tzinfo is not None
        assert run[moment].endswith("Z")


def test_steps_show_what_went_in_and_came_out(defined: Api) -> None:
    run = defined.run("triage", inputs={"amount": 500})

    steps = by_path(defined, run["id"])

    assert list(steps) == ["intake", "route", "large", "small"]
    assert all(set(step) == STEP_FIELDS for step in steps.values())
    assert steps["route"]["route"] == "true"
    assert steps["route"]["input"] == steps["route"]["output"] == {"amount": 500}
    assert steps["large"]["input"] == {"amount": 500, "kind": "large"}
    assert steps["large"]["attempts"] == 1
    small = steps["small"]
    assert (small["status"], small["attempts"], small["input"], small["output"]) == ("skipped", 0, None, None)


def test_a_step_that_has_not_begun_has_no_input_yet(defined: Api) -> None:
    run = defined.done(defined.post("/api/workflows/dispatched/runs", {"inputs": {"n": 3}}), 202)

    waiting = by_path(defined, run["id"])
    defined.engine.drain()
    ended = by_path(defined, run["id"])

    assert (waiting["first"]["status"], waiting["first"]["input"]) == ("queued", None)
    assert (waiting["second"]["status"], waiting["second"]["input"]) == ("pending", None)
    assert ended["first"]["input"] == {"n": 3}
    assert ended["second"]["input"] == {"doubled": 6}
    assert ended["second"]["output"] == {"again": 12}


def test_a_failure_is_shown_on_the_run_the_step_and_each_attempt(api: Api, engine: Engine) -> None:
    api.define(FAILING)
    run = api.run("failing")
    engine.sweep()
    engine.drain()

    ended = api.done(api.get(f"/api/runs/{run['id']}"))
    step = api.done(api.get(f"/api/runs/{run['id']}/steps/bad"))

    assert ended["status"] == "failed"
    assert ended["outputs"] is None
    assert set(ended["error"]) == {"code", "message", "step"}
    assert ended["error"]["step"] == "bad"
    assert step["error"]["code"] == ended["error"]["code"]
    assert set(step) == STEP_FIELDS | {"attempt_log"}
    assert [entry["attempt"] for entry in step["attempt_log"]] == [1, 2]
    assert {entry["status"] for entry in step["attempt_log"]} == {"failed"}
    assert step["attempts"] == 2
    assert by_path(api, run["id"])["after"]["status"] == "skipped"


def test_a_step_is_found_by_its_path_raw_and_encoded(defined: Api) -> None:
    run = defined.run("triage", inputs={"amount": 1})

    raw, encoded = (defined.get(f"/api/runs/{run['id']}/steps/{path}") for path in ("intake", "%69ntake"))

    assert defined.done(raw) == defined.done(encoded)
    for path in ("nobody", "a/b", "a%2Fb"):
        assert defined.get(f"/api/runs/{run['id']}/steps/{path}").status_code == 404


def test_a_step_in_a_branch_is_found_by_its_path_raw_and_encoded(api: Api) -> None:
    body = {"nodes": [{"id": "x", "type": "set", "values": {"last": "{{index}}"}}]}
    inner = {"id": "inner", "type": "loop", "mode": "for", "count": 1, "body": body}
    each = {"id": "each", "type": "parallel", "count": 4, "body": {"nodes": [inner]}}
    api.define({"name": "map", "nodes": [each]})
    run = api.run("map")

    for path in ("each[3]/inner[0]/x", "each%5B3%5D/inner%5B0%5D/x", "each%5b3%5d%2Finner[0]%2Fx"):
        step = api.done(api.get(f"/api/runs/{run['id']}/steps/{path}"))
        assert (step["path"], step["node"], step["status"]) == ("each[3]/inner[0]/x", "x", "success")
    for path in ("each[4]/inner[0]/x", "each/inner/x", "each[3]", "each[3]/", "each[03]/inner[0]/x"):
        assert api.get(f"/api/runs/{run['id']}/steps/{path}").status_code == 404


def test_steps_can_be_included(defined: Api) -> None:
    run = defined.run("triage", inputs={"amount": 1})

    whole = defined.done(defined.get(f"/api/runs/{run['id']}", include="steps"))

    assert set(whole) == RUN_FIELDS | {"steps", "steps_next_cursor"}
    assert whole["steps"] == list(by_path(defined, run["id"]).values())
    assert whole["steps_next_cursor"] is None
    assert defined.get(f"/api/runs/{run['id']}", include="everything").status_code == 422


def test_steps_come_in_pages(defined: Api) -> None:
    run = defined.run("triage", inputs={"amount": 1})
    path = f"/api/runs/{run['id']}/steps"

    first = defined.done(defined.get(path, limit=3))
    rest = defined.done(defined.get(path, limit=3, cursor=first["next_cursor"]))

    assert [step["node"] for step in first["items"] + rest["items"]] == ["intake", "route", "large", "small"]
    assert rest["next_cursor"] is None
    other = defined.run("triage", inputs={"amount": 1})
    assert defined.get(f"/api/runs/{other['id']}/steps", cursor=first["next_cursor"]).status_code == 422


def test_reading_steps_costs_the_same_whatever_their_number(api: Api, engine: Engine) -> None:
    statements: list[str] = []
    event.listen(engine.deps.db.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    costs = []
    for count in (5, 60):
        nodes = [{"id": f"n{no}", "type": "set", "values": {"seen": no}} for no in range(count)]
        middle = ", ".join(f"n{no}" for no in range(1, count - 1))
        api.define({"name": f"w{count}", "nodes": nodes, "edges": [f"n0 >> [{middle}] >> n{count - 1}"]})
        run = api.run(f"w{count}", inputs={"a": 1})
        reads = []
        for _ in range(4):  # now and then one looks at what the process knows, such as its keys, as well
            statements.clear()
            assert len(api.done(api.get(f"/api/runs/{run['id']}/steps"))["items"]) == count
            reads.append(len([text for text in statements if text.startswith("SELECT")]))
        costs.append(min(reads))

    assert costs[0] == costs[1] <= 7


def test_events_tell_the_whole_story_in_order(defined: Api) -> None:
    run = defined.run("triage", inputs={"amount": 1})
    path = f"/api/runs/{run['id']}/events"

    events = defined.done(defined.get(path))["items"]

    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert (events[0]["type"], events[-1]["type"]) == ("run.created", "run.completed")
    assert all(event["run_id"] == run["id"] and event["at"].endswith("Z") for event in events)
    assert events[0]["actor"] == "admin"
    assert "step" not in events[0]
    assert {event["step"] for event in events if "step" in event} == {"intake", "route", "large", "small"}
    assert defined.done(defined.get(path, after=3))["items"] == events[3:]
    paged = defined.done(defined.get(path, limit=2))
    assert defined.done(defined.get(path, limit=2, cursor=paged["next_cursor"]))["items"] == events[2:4]


def test_a_run_is_drawn_with_its_statuses(defined: Api) -> None:
    run = defined.run("triage", inputs={"amount": 1})

    drawn = defined.get(f"/api/runs/{run['id']}/mermaid")

    assert drawn.mimetype == "text/plain"
    assert "skipped" in drawn.text
    assert "skipped" not in defined.get("/api/workflows/triage/mermaid").text


@pytest.mark.parametrize("run_id", ["nobody", "01a1fc20-9b2b-7a5e-81f7-1cb0f893b84e", "0" * 36, "'; --"])
def test_an_unknown_run_is_not_found(api: Api, run_id: str) -> None:
    for path in ("", "/steps", "/steps/a", "/events", "/stream", "/mermaid"):
        assert api.get(f"/api/runs/{run_id}{path}").status_code == 404, path
    for act in ("pause", "resume", "abort"):
        assert api.post(f"/api/runs/{run_id}/{act}").status_code == 404, act


def test_runs_are_found_by_workflow_status_label_time_and_parent(defined: Api) -> None:
    early = defined.run("triage", inputs={"amount": 1}, labels={"team": "sales", "tier": "a:b"})
    late = defined.done(defined.post("/api/workflows/dispatched/runs", {"labels": {"team": "ops"}}), 202)
    workflow = defined.done(defined.get("/api/workflows/triage"))["id"]
    now = datetime.now(UTC)

    def found(**query: Any) -> list[str]:
        return [run["id"] for run in defined.done(defined.get("/api/runs", **query))["items"]]

    both = [late["id"], early["id"]]
    assert found() == both
    assert found(workflow="triage") == found(workflow=workflow) == [early["id"]]
    assert found(workflow="nobody") == []
    assert found(status="success") == [early["id"]]
    assert found(status="running") == [late["id"]]
    assert found(label="team:sales") == found(label=["team:sales", "tier:a:b"]) == [early["id"]]
    assert found(label=["team:sales", "team:ops"]) == []
    assert found(parent=early["id"]) == []
    assert found(created_after=(now - timedelta(hours=1)).isoformat()) == both
    assert found(created_after=(now + timedelta(hours=1)).isoformat()) == []
    assert found(created_before=late["created_at"]) == [early["id"]]
    assert found(created_before="1969-12-31T23:59:59Z") == []


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    "query",
    [
        {"status": "done"}, {"label": "team"}, {"label": ":x"}, {"created_after": "yesterday"},
        {"created_after": "2026-01-01T00:00:00"}, {"created_before": "2026-13-01T00:00:00Z"}, {"colour": "blue"},
    ],
)  # fmt: skip
def test_a_filter_that_makes_no_sense_is_refused(api: Api, query: dict[str, str]) -> None:
    refused = api.done(api.get("/api/runs", **query), 422)

    assert refused["errors"][0]["pointer"].split("/")[1] == next(iter(query))


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_cursor_belongs_to_its_filter(defined: Api) -> None:
    ids = [defined.run("triage", inputs={"amount": no})["id"] for no in range(3)]

    first = defined.done(defined.get("/api/runs", limit=2, status="success"))

    assert [run["id"] for run in first["items"]] == ids[:0:-1]
    assert "inputs" not in first["items"][0]
    cursor = first["next_cursor"]
    rest = defined.done(defined.get("/api/runs", limit=1, status="success", cursor=cursor))
    assert [run["id"] for run in rest["items"]] == ids[:1]
    for query in ({"status": "failed"}, {}, {"status": "success", "label": "a:b"}):
        assert defined.get("/api/runs", cursor=cursor, **query).status_code == 422
    assert defined.elsewhere().get("/api/runs", status="success", cursor=cursor).status_code == 422


def test_a_paused_run_starts_nothing_until_it_is_resumed(defined: Api) -> None:
    run = defined.done(defined.post("/api/workflows/dispatched/runs", {"inputs": {"n": 1}}), 202)
    path = f"/api/runs/{run['id']}"

    paused = defined.done(defined.post(f"{path}/pause", {"reason": "lunch"}))
    assert paused["status"] == "paused"
    assert defined.done(defined.post(f"{path}/pause", {"reason": "again"}))["status"] == "paused"
    defined.engine.drain()
    assert defined.done(defined.get(path))["step_counts"].get("success") is None
    assert defined.done(defined.post(f"{path}/resume"))["status"] == "running"
    defined.engine.drain()

    assert defined.done(defined.get(path))["status"] == "success"
    events = defined.done(defined.get(f"{path}/events"))["items"]
    told = {event["type"]: event for event in events if event["type"] in ("run.paused", "run.resumed")}
    assert told["run.paused"]["data"]["reason"] == "lunch"
    assert told["run.resumed"]["actor"] == "admin"
    assert defined.post(f"{path}/pause").status_code == 409
    assert defined.post(f"{path}/resume").status_code == 409


def test_an_abort_ends_a_run_and_its_repeat_is_no_error(defined: Api) -> None:
    run = defined.done(defined.post("/api/workflows/dispatched/runs", {"inputs": {"n": 1}}), 202)
    path = f"/api/runs/{run['id']}"

    aborted = defined.done(defined.post(f"{path}/abort", {"reason": "wrong customer"}))

    assert aborted["status"] == "aborted"
    assert "wrong customer" in aborted["error"]["message"]
    assert defined.done(defined.post(f"{path}/abort"))["status"] == "aborted"
    assert defined.post(f"{path}/pause").status_code == 409
    ended = defined.run("triage", inputs={"amount": 1})
    assert defined.post(f"/api/runs/{ended['id']}/abort").status_code == 409


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    ("act", "body"),
    [
        ("pause", {"reason": 7}), ("pause", {"why": "x"}), ("abort", {"compensate": "yes"}),
        ("abort", {"compensate": 1}), ("resume", {"input": []}), ("resume", {"budget": {"limit_cents": "9"}}),
    ],
)  # fmt: skip
def test_control_is_strict(defined: Api, act: str, body: dict[str, Any]) -> None:
    run = defined.done(defined.post("/api/workflows/dispatched/runs", {"inputs": {"n": 1}}), 202)

    assert defined.post(f"/api/runs/{run['id']}/{act}", body).status_code == 422
