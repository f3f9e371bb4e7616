"""`POST /api/workflows/{workflow}/runs`: what it takes, refuses and answers; Idempotency-Key."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from models.operation import IdempotentAnswer
from models.run import Budget, Run, RunData
from orchestrator.services.idempotency import KEPT
from tests.api.conftest import DISPATCHED, ROUTED, Api
from tests.support.engine import Engine

RUNS = "/api/workflows/triage/runs"
GOOD = {"inputs": {"amount": 7}}


@pytest.fixture
def defined(api: Api) -> Api:
    api.define(ROUTED)
    api.define(DISPATCHED)
    return api


def count(engine: Engine, what: Any) -> int:
    with engine.deps.db.read() as session:
        return session.execute(select(func.count()).select_from(what)).scalar_one()


def test_a_trigger_is_accepted_with_its_location(defined: Api) -> None:
    answer = defined.post("/api/workflows/dispatched/runs", {"inputs": {"n": 4}})

    run = defined.done(answer, 202)
    assert answer.headers["Location"] == f"/api/runs/{run['id']}"
    assert (run["workflow"], run["version"], run["status"]) == ("dispatched", 1, "running")
    defined.engine.drain()
    ended = defined.done(defined.get(answer.headers["Location"]))
    assert ended["status"] == "success"
    assert ended["outputs"] == {"second": {"again": 16}}


def test_a_workflow_is_named_by_id_too(defined: Api) -> None:
    workflow = defined.done(defined.get("/api/workflows/triage"))

    assert defined.post(f"/api/workflows/{workflow['id']}/runs", GOOD).status_code == 202
    assert defined.post("/api/workflows/nobody/runs", GOOD).status_code == 404


@pytest.mark.parametrize(
    ("inputs", "pointer", "code"),
    [
        ({}, "/inputs/amount", "MISSING_FIELD"),
        ({"amount": "7"}, "/inputs/amount", "INVALID_TYPE"),
        ({"amount": 7, "more": 1}, "/inputs/more", "UNKNOWN_FIELD"),
    ],
)
def test_inputs_are_checked_against_the_schema(
    defined: Api, engine: Engine, inputs: dict[str, Any], pointer: str, code: str
) -> None:
    refused = defined.done(defined.post(RUNS, {"inputs": inputs}), 422)

    assert (pointer, code) in [(error["pointer"], error["code"]) for error in refused["errors"]]
    assert count(engine, Run) == 0


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    ("more", "pointer", "code"),
    [
        ({"colour": 1}, "/colour", "UNKNOWN_FIELD"),
        ({"inputs": []}, "/inputs", "INVALID_TYPE"),
        ({"inputs": None}, "/inputs", "INVALID_TYPE"),
        ({"version": "1"}, "/version", "INVALID_TYPE"),
        ({"version": True}, "/version", "INVALID_TYPE"),
        ({"version": 1.0}, "/version", "INVALID_TYPE"),
        ({"version": 0}, "/version", "INVALID_VALUE"),
        ({"priority": "5"}, "/priority", "INVALID_TYPE"),
        ({"priority": 10}, "/priority", "INVALID_VALUE"),
        ({"labels": {"team": 1}}, "/labels/team", "INVALID_TYPE"),
        ({"labels": {"a b": "x"}}, "/labels/a b", "INVALID_NAME"),
        ({"labels": {"a/b": "x"}}, "/labels/a~1b", "INVALID_NAME"),
        ({"variables": {"a-b": 1}}, "/variables/a-b", "INVALID_NAME"),
        ({"variables": []}, "/variables", "INVALID_TYPE"),
        ({"budget": {}}, "/budget/limit_cents", "MISSING_FIELD"),
        ({"budget": {"limit_cents": -1}}, "/budget/limit_cents", "INVALID_VALUE"),
        ({"budget": {"limit_cents": 1, "on_exceeded": "cry"}}, "/budget/on_exceeded", "INVALID_VALUE"),
        ({"budget": {"limit": 1}}, "/budget/limit", "UNKNOWN_FIELD"),
        ({"overrides": {"timeout": "soon"}}, "/overrides/timeout", "INVALID_DURATION"),
        ({"overrides": {"retry": {"max_attempts": 0}}}, "/overrides/retry/max_attempts", "INVALID_VALUE"),
        ({"overrides": {"retry": {"tries": 3}}}, "/overrides/retry/tries", "UNKNOWN_FIELD"),
        ({"overrides": {"retry": {"retry_on": ["OOPS"]}}}, "/overrides/retry/retry_on/0", "INVALID_VALUE"),
        (
            {"overrides": {"retry": {"condition": "error.code =="}}},
            "/overrides/retry/condition",
            "INVALID_EXPRESSION",
        ),
        ({"overrides": {"nodes": {"nobody": {"timeout": 1}}}}, "/overrides/nodes/nobody", "UNKNOWN_FIELD"),
        (
            {"overrides": {"nodes": {"intake": {"when": "x"}}}},
            "/overrides/nodes/intake/when",
            "UNKNOWN_FIELD",
        ),
    ],
)
def test_each_field_is_strict(
    defined: Api, engine: Engine, more: dict[str, Any], pointer: str, code: str
) -> None:
    refused = defined.done(defined.post(RUNS, {**GOOD, **more}), 422)

    assert (pointer, code) in [(error["pointer"], error["code"]) for error in refused["errors"]], refused
    assert count(engine, Run) == 0


def test_what_is_given_is_kept(defined: Api, engine: Engine) -> None:
    overrides = {
        "timeout": "2m",
        "retry": {"max_attempts": 3, "initial": "250ms", "condition": "error.code == 'TIMEOUT'"},
        "nodes": {"intake": {"timeout": 5}},
    }
    trigger = {
        **GOOD,
        "variables": {"region": "eu"},
        "labels": {"team": "sales", "app.kubernetes-name": "x"},
        "budget": {"limit_cents": 9, "on_exceeded": "pause"},
        "overrides": overrides,
        "priority": 5,
        "version": 1,
    }
    run = defined.done(defined.post(RUNS, trigger), 202)

    assert run["labels"] == trigger["labels"]
    assert run["inputs"] == GOOD["inputs"]
    with engine.deps.db.read() as session:
        budget, data = session.get_one(Budget, run["id"]), session.get_one(RunData, run["id"])
    assert (budget.limit_microcents, budget.on_exceeded) == (9_000_000, "pause")
    assert data.overrides["timeout"] == 120.0
    assert data.overrides["retry"]["initial"] == 0.25
    assert data.overrides["nodes"] == {"intake": {"timeout": 5.0}}


def test_an_unknown_version_is_not_found(defined: Api) -> None:
    assert defined.post(RUNS, {**GOOD, "version": 9}).status_code == 404


def test_an_estimate_above_the_budget_is_refused(api: Api, engine: Engine) -> None:
    api.define({"name": "dear", "nodes": [{"id": "a", "type": "noop", "estimated_cost_cents": 50}]})

    refused = api.done(api.post("/api/workflows/dear/runs", {"budget": {"limit_cents": 49}}), 422)

    assert refused["code"] == "BUDGET_EXCEEDED"
    assert count(engine, Run) == 0
    assert api.post("/api/workflows/dear/runs", {"budget": {"limit_cents": 50}}).status_code == 202


def test_waiting_gives_the_whole_run_when_it_ends_in_time(defined: Api) -> None:
    whole = defined.done(defined.post(f"{RUNS}?wait=10", GOOD), 200)

    assert whole["status"] == "success"
    assert whole["outputs"] == {"small": {"amount": 7, "kind": "small"}}


def test_waiting_ends_when_somebody_else_ends_the_run(defined: Api, engine: Engine) -> None:
    drained = threading.Timer(0.3, engine.drain)
    drained.start()

    whole = defined.done(defined.post("/api/workflows/dispatched/runs?wait=30", {"inputs": {"n": 1}}), 200)

    drained.join()
    assert whole["outputs"] == {"second": {"again": 4}}


def test_waiting_in_vain_is_accepted(defined: Api) -> None:
    answer = defined.post("/api/workflows/dispatched/runs?wait=1", {"inputs": {"n": 1}})

    assert defined.done(answer, 202)["status"] == "running"
    for wait in ("301", "-1", "soon", "1.5"):
        assert defined.post(f"{RUNS}?wait={wait}", GOOD).status_code == 422


def test_a_repeat_is_the_same_answer_and_no_second_run(defined: Api, engine: Engine) -> None:
    headers = {"Idempotency-Key": "order-1"}
    first = defined.post("/api/workflows/dispatched/runs", {"inputs": {"n": 1}}, headers=headers)
    engine.drain()

    again = defined.post("/api/workflows/dispatched/runs", {"inputs": {"n": 1}}, headers=headers)

    assert (again.status_code, again.get_json()) == (202, first.get_json())
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert count(engine, Run) == 1
    waited = defined.post("/api/workflows/dispatched/runs?wait=5", {"inputs": {"n": 1}}, headers=headers)
    assert defined.done(waited, 200)["status"] == "success"
    assert count(engine, Run) == 1


def test_a_key_used_for_another_request_is_refused(defined: Api, engine: Engine) -> None:
    headers = {"Idempotency-Key": "order-1"}
    defined.done(defined.post(RUNS, GOOD, headers=headers), 202)

    for path, body in ((RUNS, {"inputs": {"amount": 8}}), ("/api/workflows/dispatched/runs", GOOD)):
        refused = defined.done(defined.post(path, body, headers=headers), 422)
        assert refused["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert count(engine, Run) == 1


def test_a_refusal_takes_no_key(defined: Api, engine: Engine) -> None:
    headers = {"Idempotency-Key": "order-1"}
    assert defined.post(RUNS, {"inputs": {}}, headers=headers).status_code == 422
    assert defined.post("/api/workflows/later/runs", headers=headers).status_code == 404

    assert defined.post(RUNS, GOOD, headers=headers).status_code == 202
    assert count(engine, IdempotentAnswer) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "naïve"])
def test_a_key_is_printable_and_short(defined: Api, key: str) -> None:
    assert defined.post(RUNS, GOOD, headers={"Idempotency-Key": key}).status_code == 422


def test_keys_of_other_workspaces_do_not_meet(defined: Api) -> None:
    headers = {"Idempotency-Key": "order-1"}
    mine = defined.done(defined.post(RUNS, GOOD, headers=headers), 202)
    other = defined.elsewhere()
    other.define(ROUTED)

    theirs = other.done(other.post(RUNS, GOOD, headers=headers), 202)

    assert theirs["id"] != mine["id"]


def test_an_answer_is_kept_for_24_hours(defined: Api, engine: Engine) -> None:
    headers = {"Idempotency-Key": "order-1"}
    first = defined.done(defined.post(RUNS, GOOD, headers=headers), 202)
    for age, same in ((KEPT - timedelta(minutes=1), True), (KEPT + timedelta(minutes=1), False)):
        with engine.deps.db.transaction() as session:
            session.execute(update(IdempotentAnswer).values(created_at=datetime.now(UTC) - age))

        again = defined.done(defined.post(RUNS, GOOD, headers=headers), 202)
        assert (again["id"] == first["id"]) is same


def test_concurrent_twins_make_one_run(defined: Api, engine: Engine, make_api: Callable[..., Api]) -> None:
    headers = {"Idempotency-Key": "order-1"}
    others = [make_api() for _ in range(2)]
    ready, answers = threading.Barrier(8), []

    def trigger(api: Api) -> None:
        ready.wait(10)
        answers.append(api.post(RUNS, GOOD, headers=headers))

    threads = [threading.Thread(target=trigger, args=(others[no % 2],)) for no in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert [answer.status_code for answer in answers] == [202] * 8
    assert len({answer.get_json()["id"] for answer in answers}) == 1
    assert count(engine, Run) == 1


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_every_write_takes_a_key(defined: Api) -> None:
    run = defined.done(defined.post("/api/workflows/dispatched/runs", {"inputs": {"n": 1}}), 202)["id"]
    writes: list[tuple[str, str, Any]] = [
        ("POST", "/api/workflows", {**DISPATCHED, "name": "third"}),
        ("PUT", "/api/workflows/dispatched", {**DISPATCHED, "description": "new"}),
        ("POST", "/api/workflows/dispatched/rollback", {"version": 1}),
        ("DELETE", "/api/workflows/third", None),
        ("POST", f"/api/runs/{run}/pause", {"reason": "lunch"}),
        ("POST", f"/api/runs/{run}/resume", {}),
        ("POST", f"/api/runs/{run}/abort", {"reason": "enough"}),
        ("POST", "/api/workspaces", {"name": "sales"}),
        ("POST", "/api/keys", {"name": "k", "scopes": ["read"]}),
    ]
    for method, path, body in writes:
        headers = {"Idempotency-Key": f"{method} {path}"}
        first = defined.call(method, path, json=body, headers=headers)
        again = defined.call(method, path, json=body, headers=headers)
        assert first.status_code < 300, first.text
        assert (again.status_code, again.get_json()) == (first.status_code, first.get_json()), path
        assert again.headers["Idempotent-Replayed"] == "true"
