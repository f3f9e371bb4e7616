"""`/api/gateways`: kept, pinged, never telling their tokens."""

import json
from typing import Any

import pytest
from sqlalchemy import text

from models.queries import operational
from orchestrator.bridge import Pong
from orchestrator.services import gateways
from tests.api.conftest import Api
from tests.support import fake_gateway
from tests.support.engine import Engine
from tests.support.fake_gateway import FakeGateway

TOKEN = "canary-gateway-token"
HUB = {"name": "Hub", "url": "wss://gateway.example:18789/", "token": TOKEN}


@pytest.fixture
def driver(engine: Engine) -> FakeGateway:
    return fake_gateway.install(engine.deps)


def make(api: Api, answers: int = 201, **fields: Any) -> Any:
    return api.done(api.post("/api/gateways", {**HUB, **fields}), answers)


def told(engine: Engine) -> list[tuple[str, Any]]:
    with engine.deps.db.read() as session:
        found = operational.events(session, engine.actor.workspace_id)
        return [(event.type, event.data.get("error")) for event in found]


def test_a_gateway_is_made_read_changed_and_removed(api: Api) -> None:
    made = make(api)
    assert {name: made[name] for name in made if not name.endswith("_at")} == {
        "id": made["id"],
        "name": "hub",
        "kind": "openclaw",
        "url": HUB["url"],
        "has_token": True,
        "default": False,
        "status": "unknown",
        "error": None,
        "version": None,
    }
    assert api.done(api.get("/api/gateways/HUB")) == made
    assert api.done(api.get("/api/gateways"))["items"] == [made]
    changed = api.done(api.patch(f"/api/gateways/{made['id']}", {"name": "main", "token": None}))
    assert (changed["name"], changed["has_token"], changed["url"]) == ("main", False, HUB["url"])
    assert api.done(api.delete("/api/gateways/main"))["id"] == made["id"]
    assert api.get("/api/gateways/main").status_code == 404
    assert api.delete("/api/gateways/main").status_code == 404


def test_the_token_is_kept_encrypted_and_shown_nowhere(
    api: Api, engine: Engine, driver: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Idempotency-Key": "g1"}
    made = api.post("/api/gateways", HUB, headers=headers)
    again = api.post("/api/gateways", HUB, headers=headers)
    assert made.json == again.json
    shown = made.text + api.get("/api/gateways").text
    shown += api.patch("/api/gateways/hub", {"token": TOKEN}, headers={"Idempotency-Key": "g2"}).text
    driver.pong = f"the gateway refuses {TOKEN}"
    for _ in range(3):
        shown += api.post("/api/gateways/hub/ping").text
    shown += api.get("/api/gateways/hub").text + api.delete("/api/gateways/hub").text
    tables = ("gateway", "idempotent_answer", "operational_event")
    with engine.deps.db.read() as session:
        rows = [tuple(row) for table in tables for row in session.execute(text(f"SELECT * FROM {table}"))]
    assert "the gateway refuses ***" in shown
    assert len(rows) >= 3
    assert TOKEN not in shown + json.dumps(rows, default=str) + caplog.text
    assert driver.asked[0].token == TOKEN
    assert TOKEN not in repr(driver.asked[0])


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "a b"}, "/name"),
        ({"kind": "carrier-pigeon"}, "/kind"),
        ({"url": None}, "/url"),
        ({"url": "http://gateway.example"}, "/url"),
        ({"url": "ws://user:word@gateway.example"}, "/url"),
        ({"url": "ws://gateway.example/#x"}, "/url"),
        ({"url": "ws://gateway.example:99999"}, "/url"),
        ({"url": "ws://[::1"}, "/url"),
        ({"url": "ws:gateway.example"}, "/url"),
        ({"url": "ws://gateway example"}, "/url"),
        ({"kind": "http", "url": "ws://gateway.example"}, "/url"),
        ({"kind": "local"}, "/url"),
        ({"token": ""}, "/token"),
        ({"default": "yes"}, "/default"),
        ({"status": "healthy"}, "/status"),
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_gateway_that_makes_no_sense_is_refused(api: Api, body: dict[str, Any], pointer: str) -> None:
    assert make(api, 422, **body)["errors"][0]["pointer"] == pointer
    assert api.done(api.get("/api/gateways"))["items"] == []


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_every_kind_has_its_url(api: Api) -> None:
    assert make(api, kind="http", url="https://agent.example/run?x=1")["kind"] == "http"
    assert api.done(api.post("/api/gateways", {"name": "here", "kind": "local"}), 201)["url"] is None
    for name, url in (("a", "ws://127.0.0.1:18789"), ("b", "wss://[::1]:1"), ("c", "ws://10.0.0.1")):
        assert make(api, name=name, url=url)["url"] == url
    assert api.patch("/api/gateways/here", {"url": "ws://x"}).status_code == 422
    assert api.patch("/api/gateways/a", {"url": None}).status_code == 422
    assert api.patch("/api/gateways/a", {"kind": "local"}).status_code == 422


def test_names_are_taken_once(api: Api) -> None:
    make(api)
    make(api, name="other")
    assert api.post("/api/gateways", {**HUB, "name": "HUB"}).status_code == 409
    assert api.patch("/api/gateways/other", {"name": "hub"}).status_code == 409
    assert api.done(api.patch("/api/gateways/hub", {"name": "hub"}))["name"] == "hub"


def test_one_gateway_is_the_default(api: Api, engine: Engine) -> None:
    def default() -> str | None:
        with engine.deps.db.transaction() as session:
            return gateways.default(engine.deps, session, engine.actor.workspace_id)

    assert default() is None
    local = api.done(api.post("/api/gateways", {"name": "here", "kind": "local"}), 201)
    assert default() == local["id"]
    first, second = make(api, default=True), make(api, name="second")
    assert (first["default"], default()) == (True, first["id"])
    assert api.done(api.patch("/api/gateways/second", {"default": True}))["default"] is True
    assert default() == second["id"]
    assert [found["default"] for found in api.done(api.get("/api/gateways"))["items"]] == [False, False, True]
    api.done(api.patch("/api/gateways/second", {"default": False}))
    assert default() == local["id"]


def test_the_local_gateway_is_found_where_it_runs(api: Api, engine: Engine) -> None:
    engine.deps.settings.data_dir.mkdir(parents=True, exist_ok=True)
    (engine.deps.settings.data_dir / "gateway.json").write_text("{}")
    for _ in range(2):
        with engine.deps.db.transaction() as session:
            found = gateways.default(engine.deps, session, engine.actor.workspace_id)
    (local,) = api.done(api.get("/api/gateways"))["items"]
    assert (local["id"], local["name"], local["kind"], local["default"]) == (found, "local", "local", False)


def test_a_gateway_with_agents_stays(api: Api) -> None:
    make(api)
    api.enrolled("one", gateway="hub")
    refused = api.delete("/api/gateways/hub")
    assert (refused.status_code, "1 agent" in refused.text) == (409, True)
    api.done(api.patch("/api/agents/one", {"gateway": None}))
    assert api.delete("/api/gateways/hub").status_code == 200


def test_a_ping_tells_what_it_found(api: Api, driver: FakeGateway) -> None:
    make(api)
    driver.pong = Pong(version="2026.9.6", agents=("main", "scorer"))
    pinged = api.done(api.post("/api/gateways/hub/ping"))
    assert pinged.pop("latency_ms") >= 0
    assert pinged == {"status": "healthy", "version": "2026.9.6", "agents": ["main", "scorer"]}
    found = api.done(api.get("/api/gateways/hub"))
    assert (found["status"], found["version"], found["error"]) == ("healthy", "2026.9.6", None)
    assert found["checked_at"] is not None
    driver.pong = "nobody listens"
    assert api.done(api.post("/api/gateways/hub/ping")) == {
        "status": "unhealthy",
        "latency_ms": None,
        "version": None,
        "agents": None,
        "error": "nobody listens",
    }
    assert api.done(api.get("/api/gateways/hub"))["status"] == "healthy"


def test_the_third_failure_makes_it_unhealthy_and_an_answer_well(
    api: Api, engine: Engine, driver: FakeGateway
) -> None:
    made = make(api)
    driver.pong = "nobody listens"
    for status in ("unknown", "unknown", "unhealthy", "unhealthy"):
        api.done(api.post("/api/gateways/hub/ping"))
        assert api.done(api.get("/api/gateways/hub"))["status"] == status
    driver.pong = Pong()
    api.done(api.post("/api/gateways/hub/ping"))
    assert told(engine) == [("gateway.unhealthy", "nobody listens"), ("gateway.healthy", None)]
    for _ in range(2):
        gateways.failed(engine.deps, made["id"], "reset")
    gateways.well(engine.deps, made["id"], None)
    for _ in range(2):
        gateways.failed(engine.deps, made["id"], "reset")
    assert api.done(api.get("/api/gateways/hub"))["status"] == "healthy"
    gateways.failed(engine.deps, made["id"], "reset")
    assert api.done(api.get("/api/gateways/hub"))["status"] == "unhealthy"
    api.done(api.patch("/api/gateways/hub", {"url": "ws://elsewhere.example", "token": "another"}))
    found = api.done(api.get("/api/gateways/hub"))
    assert (found["status"], found["error"], found["checked_at"]) == ("unknown", None, None)


def test_a_stored_token_goes_to_no_other_place(api: Api, engine: Engine) -> None:
    made = make(api)
    refused = api.patch("/api/gateways/hub", {"url": "wss://evil.example"})
    assert refused.status_code == 422
    assert refused.json is not None
    assert refused.json["errors"][0]["pointer"] == "/token"
    api.done(api.patch("/api/gateways/hub", {"url": "wss://gateway.example:18789/other"}))
    api.done(api.patch("/api/gateways/hub", {"url": "wss://evil.example", "token": None}))
    with engine.deps.db.read() as session:
        found = gateways.endpoint(engine.deps, session, made["id"])
    assert found is not None
    assert (found.url, found.token) == ("wss://evil.example", None)


def test_what_a_gateway_gave_is_kept_for_its_driver(api: Api, engine: Engine) -> None:
    made = make(api)
    gateways.paired(engine.deps, made["id"], "device-1")

    def endpoint() -> Any:
        with engine.deps.db.read() as session:
            return gateways.endpoint(engine.deps, session, made["id"])

    found = endpoint()
    assert (found.url, found.kind, found.token, found.device_token) == (
        HUB["url"],
        "openclaw",
        TOKEN,
        "device-1",
    )
    gateways.well(engine.deps, made["id"], Pong(device_token="device-2"))
    assert endpoint().device_token == "device-2"
    api.done(api.patch("/api/gateways/hub", {"url": "ws://elsewhere.example", "token": "another"}))
    assert endpoint().device_token is None
    api.done(api.delete("/api/gateways/hub"))
    assert endpoint() is None
    assert gateways.failed(engine.deps, made["id"], "gone") == ()
    assert gateways.well(engine.deps, made["id"], Pong()) == ()


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_driver_that_breaks_or_is_missing_is_a_failed_ping(
    api: Api, engine: Engine, driver: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(api)

    def broken(*_: Any) -> Pong:
        raise RuntimeError(TOKEN)

    monkeypatch.setattr(FakeGateway, "ping", broken)
    assert api.done(api.post("/api/gateways/hub/ping"))["error"] == "its driver broke: RuntimeError"
    vars(engine.deps)["gateways"] = {}
    assert "install its plug-in" in api.done(api.post("/api/gateways/hub/ping"))["error"]


CALLS = [
    ("GET", "/api/gateways", "read"),
    ("GET", "/api/gateways/hub", "read"),
    ("POST", "/api/gateways", "admin"),
    ("PATCH", "/api/gateways/hub", "admin"),
    ("DELETE", "/api/gateways/hub", "admin"),
    ("POST", "/api/gateways/hub/ping", "admin"),
]


@pytest.mark.parametrize(("method", "path", "scope"), CALLS)
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_admins_write_readers_read(
    api: Api, driver: FakeGateway, method: str, path: str, scope: str
) -> None:
    make(api)
    others = [other for other in ("read", "operate", "define", "agent") if other != scope]
    assert api.with_key(*others).call(method, path, json={}).status_code == 403
    assert api.with_key(scope).call(method, path, json={}).status_code in (200, 422)
    assert api.without_key().call(method, path, json={}).status_code == 401
    elsewhere = api.elsewhere()
    expected = 404 if "hub" in path else 200 if method == "GET" else 422
    assert elsewhere.call(method, path, json={}).status_code == expected
