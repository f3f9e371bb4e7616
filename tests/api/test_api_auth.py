"""Keys, scopes, workspaces, rate limits."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import text

from api.app import create_app
from api.auth import KeyRing, RateLimit
from models.errors import RateLimitedError, UnauthorizedError
from orchestrator.services import keys
from orchestrator.services.actors import SCOPES, Actor
from orchestrator.settings import Settings
from tests.api.conftest import ROUTED, Api
from tests.support.engine import Engine

SOME_ID = "01a1fc20-9b2b-7a5e-81f7-1cb0f893b84e"
CALLS = [
    ("GET", "/api/workflows", "read"),
    ("GET", "/api/runs", "read"),
    ("GET", f"/api/runs/{SOME_ID}", "read"),
    ("GET", f"/api/runs/{SOME_ID}/stream", "read"),
    ("POST", "/api/workflows", "define"),
    ("PUT", "/api/workflows/triage", "define"),
    ("DELETE", "/api/workflows/triage", "define"),
    ("POST", "/api/workflows/triage/rollback", "define"),
    ("POST", "/api/workflows/triage/runs", "operate"),
    ("POST", f"/api/runs/{SOME_ID}/abort", "operate"),
    ("POST", f"/api/runs/{SOME_ID}/pause", "operate"),
    ("POST", f"/api/runs/{SOME_ID}/resume", "operate"),
    ("POST", f"/api/runs/{SOME_ID}/signal", "operate"),
    ("GET", "/api/approvals", "read"),
    ("GET", f"/api/approvals/{SOME_ID}", "read"),
    ("POST", f"/api/approvals/{SOME_ID}/approve", "operate"),
    ("POST", f"/api/approvals/{SOME_ID}/reject", "operate"),
    ("POST", f"/api/approvals/{SOME_ID}/links", "operate"),
    ("POST", "/api/signals", "operate"),
    ("GET", "/api/agents", "read"),
    ("GET", "/api/gateways", "read"),
    ("POST", "/api/agents/register", "agent"),
    ("DELETE", f"/api/agents/{SOME_ID}", "admin"),
    ("POST", f"/api/agents/{SOME_ID}/heartbeat", "agent"),
    ("POST", f"/api/agents/{SOME_ID}/rotate-key", "agent"),
    ("POST", f"/api/agents/{SOME_ID}/work", "agent"),
    ("POST", f"/api/agents/{SOME_ID}/work/x/renew", "agent"),
    ("POST", "/api/gateways", "admin"),
    ("PATCH", f"/api/gateways/{SOME_ID}", "admin"),
    ("POST", f"/api/gateways/{SOME_ID}/ping", "admin"),
    ("GET", "/api/keys", "admin"),
    ("POST", "/api/keys", "admin"),
    ("DELETE", f"/api/keys/{SOME_ID}", "admin"),
    ("POST", "/api/workspaces", "admin"),
]


@pytest.mark.parametrize(("method", "path", "_scope"), CALLS)
def test_without_a_key_every_call_is_unauthorized(api: Api, method: str, path: str, _scope: str) -> None:
    answer = api.without_key().call(method, path, json={})

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.get_json()["code"] == "UNAUTHORIZED"


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic abc", "Bearer ork_wrong", "ork_wrong"])
def test_a_wrong_key_is_unauthorized_and_not_echoed(api: Api, header: str) -> None:
    answer = api.call("GET", "/api/runs", headers={"Authorization": header})

    assert answer.status_code == 401
    assert "ork_wrong" not in answer.text


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(("method", "path", "scope"), CALLS)
def test_each_call_takes_its_scope_alone(api: Api, method: str, path: str, scope: str) -> None:
    others = [other for other in SCOPES if other not in (scope, "admin")]

    refused = api.with_key(*others).call(method, path, json={})
    taken = api.with_key(scope).call(method, path, json={})
    by_admin = api.call(method, path, json={})

    assert refused.status_code == 403
    assert scope in refused.get_json()["detail"]
    assert taken.status_code not in (401, 403)
    assert by_admin.status_code == taken.status_code


def test_a_revoked_key_ends_at_once_in_the_process_that_revoked_it(api: Api) -> None:
    other = api.with_key("read")
    assert other.get("/api/runs").status_code == 200
    listed = api.done(api.get("/api/keys"))["items"][0]

    revoked = api.done(api.delete(f"/api/keys/{listed['id']}"))

    assert revoked["revoked_at"] is not None
    assert other.get("/api/runs").status_code == 401
    assert api.done(api.delete(f"/api/keys/{listed['id']}")) == revoked


def test_a_key_is_shown_once_and_stored_as_a_digest(api: Api, engine: Engine) -> None:
    made = api.done(api.post("/api/keys", {"name": "ci", "scopes": ["read", "operate"]}), 201)

    with engine.deps.db.read() as session:
        stored = [tuple(row) for row in session.execute(text("SELECT * FROM api_key"))]
    shown = api.get("/api/keys").text + api.get(f"/api/keys/{made['id']}").text
    assert made["key"].startswith("ork_")
    assert made["key"] not in shown
    assert made["key"] not in str(stored)
    assert api.done(api.get(f"/api/keys/{made['id']}"))["scopes"] == ["read", "operate"]


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"scopes": ["read"]}, "/name", "MISSING_FIELD"),
        ({"name": "x", "scopes": []}, "/scopes", "INVALID_VALUE"),
        ({"name": "x", "scopes": ["root"]}, "/scopes/0", "INVALID_VALUE"),
        ({"name": "x", "scopes": "read"}, "/scopes", "INVALID_TYPE"),
        ({"name": "x", "scopes": ["read"], "admin": True}, "/admin", "UNKNOWN_FIELD"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(
    api: Api, body: dict[str, object], pointer: str, code: str
) -> None:
    error = api.done(api.post("/api/keys", body), 422)["errors"][0]

    assert (error["pointer"], error["code"]) == (pointer, code)


def test_other_workspaces_things_are_not_found(api: Api, engine: Engine) -> None:
    workflow = api.define(ROUTED)
    run = api.run("triage", inputs={"amount": 1})
    key = api.done(api.get("/api/keys"))["items"][0]["id"]
    other = api.elsewhere()

    for path in (
        "/api/workflows/triage",
        f"/api/workflows/{workflow['id']}",
        "/api/workflows/triage/versions",
        "/api/workflows/triage/versions/1",
        "/api/workflows/triage/plan",
        "/api/workflows/triage/mermaid",
        "/api/workflows/triage/diff",
        f"/api/runs/{run['id']}",
        f"/api/runs/{run['id']}/steps",
        f"/api/runs/{run['id']}/steps/intake",
        f"/api/runs/{run['id']}/events",
        f"/api/runs/{run['id']}/stream",
        f"/api/runs/{run['id']}/mermaid",
        f"/api/keys/{key}",
        "/api/workspaces/default",
    ):
        assert other.get(path).status_code == 404, path
    for path in (f"/api/runs/{run['id']}/abort", "/api/workflows/triage/rollback"):
        assert other.post(path, {"version": 1} if "rollback" in path else {}).status_code == 404, path
    assert other.post("/api/workflows/triage/runs", {"inputs": {"amount": 1}}).status_code == 404
    assert other.put("/api/workflows/triage", ROUTED).status_code == 404
    assert other.delete("/api/workflows/triage").status_code == 404
    assert other.delete(f"/api/keys/{key}").status_code == 404
    assert other.done(other.get("/api/runs"))["items"] == []
    assert other.done(other.get("/api/runs", workflow="triage"))["items"] == []
    assert other.define(ROUTED)["id"] != workflow["id"]


def test_only_operators_make_workspaces_and_keys_elsewhere(api: Api) -> None:
    other = api.elsewhere()

    assert other.post("/api/workspaces", {"name": "third"}).status_code == 403
    refused = other.post("/api/keys", {"name": "in", "scopes": ["admin"], "workspace": "default"})
    assert refused.status_code == 404
    own = other.done(other.post("/api/keys", {"name": "own", "scopes": ["read"]}), 201)
    assert own["workspace"] == "elsewhere"
    assert [row["name"] for row in other.done(other.get("/api/workspaces"))["items"]] == ["elsewhere"]
    assert {row["name"] for row in api.done(api.get("/api/workspaces"))["items"]} >= {"default", "elsewhere"}


def test_a_workspace_name_is_taken_once(api: Api) -> None:
    made = api.done(api.post("/api/workspaces", {"name": "sales"}), 201)

    assert api.post("/api/workspaces", {"name": "sales"}).status_code == 409
    assert api.post("/api/workspaces", {"name": "No Good"}).status_code == 422
    assert api.done(api.get("/api/workspaces/sales")) == made
    assert api.done(api.get(f"/api/workspaces/{made['id']}")) == made


def test_bootstrap_keeps_a_key_that_works_and_replaces_one_that_does_not(engine: Engine) -> None:
    first = keys.bootstrap(engine.deps)

    assert keys.bootstrap(engine.deps, first) == first
    second = keys.bootstrap(engine.deps, "ork_of_another_database")
    assert second != first
    assert keys.authenticate(engine.deps, second).scopes == {"admin"}


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_too_many_calls_of_one_key_wait(engine: Engine, api_settings: Settings) -> None:
    deps = replace(engine.deps, settings=replace(api_settings, rate_limit=3))
    app = create_app(deps, send=engine.send, broker_answers=lambda: True)
    api = Api(app=app, engine=engine, key=keys.bootstrap(deps))

    assert [api.get("/api/runs").status_code for _ in range(3)] == [200, 200, 200]
    refused = api.get("/api/runs")

    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 21
    assert api.get("/healthz").status_code == 200


def test_the_bucket_fills_evenly() -> None:
    now = 0.0
    limit = RateLimit(60, clock=lambda: now)
    for _ in range(60):
        limit.take("a")

    with pytest.raises(RateLimitedError) as refused:
        limit.take("a")
    assert refused.value.retry_after == pytest.approx(1.0)
    limit.take("b")
    now = 2.0
    limit.take("a")
    limit.take("a")
    with pytest.raises(RateLimitedError):
        limit.take("a")


def test_a_key_is_looked_up_once_while_it_is_remembered() -> None:
    asked: list[str] = []
    actor = Actor(workspace_id="w", key_id="k", scopes=frozenset({"read"}), name="n")

    def look_up(token: str) -> Actor:
        asked.append(token)
        if token != "good":
            raise UnauthorizedError("no")
        return actor

    ring = KeyRing(look_up, seconds=60)
    assert [ring.actor("Bearer good"), ring.actor("bearer good")] == [actor, actor]
    for _ in range(2):
        with pytest.raises(UnauthorizedError):
            ring.actor("Bearer bad")
    assert asked == ["good", "bad", "bad"]
    ring.forget()
    ring.actor("Bearer good")
    assert asked[-1] == "good"


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_repeat_of_making_a_key_shows_it_again_and_stores_no_token(
    api: Api, engine: Engine, make_api: Callable[..., Api]
) -> None:
    headers = {"Idempotency-Key": "make-ci"}
    body = {"name": "ci", "scopes": ["read"]}

    first = api.done(api.post("/api/keys", body, headers=headers), 201)
    again = api.done(api.post("/api/keys", body, headers=headers), 201)

    with engine.deps.db.read() as session:
        kept = [tuple(row) for row in session.execute(text("SELECT * FROM idempotent_answer"))]
    assert again == first
    assert first["key"] not in json.dumps(kept, default=str)
    assert Api(app=api.app, engine=engine, key=first["key"]).get("/api/runs").status_code == 200
