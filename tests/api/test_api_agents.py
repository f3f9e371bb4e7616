"""`/api/agents`: enrolment, who may act for whom, heartbeats, keys, changes. Source: spec "http-api"."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from models.queries import operational
from orchestrator.services import keys
from orchestrator.settings import Settings
from tests.api.conftest import SECRET, Api
from tests.support import attempts
from tests.support.engine import Engine
from tests.support.histories import execute

RESEARCHER = {"name": "Researcher", "role": "analyst", "capabilities": ["web", "pdf", "web"]}
Make = Callable[..., Api]


def register(api: Api, status: int = 201, **fields: Any) -> Any:
    return api.done(api.post("/api/agents/register", {**RESEARCHER, **fields}), status)


def told(engine: Engine) -> list[str]:
    with engine.deps.db.read() as session:
        return [event.type for event in operational.events(session, engine.actor.workspace_id)]


def test_an_agent_enrols_and_is_shown(api: Api, engine: Engine) -> None:
    enrolment = api.with_key("agent")
    files = {"SOUL.md": "You serve {{workflow}}"}
    made = register(enrolment, level="lead", session_key="agent:main:x", max_concurrent=3, files=files)
    assert (made["is_new"], made["api_key"][:4]) == (True, "ork_")
    agent = api.done(api.get(f"/api/agents/{made['agent_id']}"))
    assert {name: agent[name] for name in agent if not name.endswith("_at")} == {
        "id": made["agent_id"],
        "name": "researcher",
        "role": "analyst",
        "level": "lead",
        "status": "online",
        "session_key": "agent:main:x",
        "capabilities": ["pdf", "web"],
        "workspace_path": None,
        "gateway": None,
        "max_concurrent": 3,
        "rate_limit": None,
        "heartbeat": True,
        "load": 0,
        "queued_task_count": 0,
        "files": files,
    }
    assert api.done(api.get("/api/agents/RESEARCHER")) == agent
    (listed,) = api.done(api.get("/api/agents"))["items"]
    assert listed == {name: value for name, value in agent.items() if name != "files"}
    assert told(engine) == ["agent.online"]


def test_a_known_name_answers_to_its_own_key_and_admins_alone(api: Api) -> None:
    enrolment = api.with_key("agent")
    made = register(enrolment)
    own = api.using(made["api_key"])
    for stranger in (enrolment, api.enrolled("other")[0], api.with_key("agent", "read", "operate")):
        assert stranger.post("/api/agents/register", RESEARCHER).status_code == 409
    for known in (own, api):
        answer = known.post("/api/agents/register", {**RESEARCHER, "role": "chief", "capabilities": ["x"]})
        assert known.done(answer) == {"agent_id": made["agent_id"], "is_new": False, "api_key": None}
    agent = api.done(api.get("/api/agents/researcher"))
    assert (agent["role"], agent["capabilities"], agent["status"]) == ("chief", ["x"], "online")


def test_an_agents_key_enrols_no_other(api: Api) -> None:
    own, _ = api.enrolled("one")
    assert own.post("/api/agents/register", {**RESEARCHER, "name": "two"}).status_code == 403
    assert api.get("/api/agents/two").status_code == 404


def test_what_is_left_out_of_another_registration_stays(api: Api) -> None:
    own = api.using(register(api, rate_limit=9, files={"A.md": "a"})["api_key"])
    register(own, 200, level="junior")
    agent = api.done(api.get("/api/agents/researcher"))
    assert (agent["rate_limit"], agent["files"], agent["level"]) == (9, {"A.md": "a"}, "junior")


def test_a_repeat_shows_the_same_key_to_its_caller_and_stores_none(api: Api, engine: Engine) -> None:
    enrolment, headers = api.with_key("agent"), {"Idempotency-Key": "boot-1"}
    first = enrolment.post("/api/agents/register", RESEARCHER, headers=headers)
    again = enrolment.post("/api/agents/register", RESEARCHER, headers=headers)
    assert (again.status_code, again.json) == (201, first.json)
    assert again.headers["Idempotent-Replayed"] == "true"
    thief = api.with_key("agent").post("/api/agents/register", RESEARCHER, headers=headers)
    assert thief.status_code == 409
    with engine.deps.db.read() as session:
        tables = ("idempotent_answer", "api_key", "agent", "operational_event")
        rows = [tuple(row) for table in tables for row in session.execute(text(f"SELECT * FROM {table}"))]
    assert first.json is not None
    assert first.json["api_key"] not in json.dumps(rows, default=str)
    assert api.using(first.json["api_key"]).post("/api/agents/researcher/heartbeat").status_code == 200


def test_twins_that_enrol_at_once_make_one_agent(api: Api) -> None:
    enrolment, gate = api.with_key("agent"), threading.Barrier(6)

    def enrol(_: int) -> int:
        gate.wait(10)
        return enrolment.post("/api/agents/register", RESEARCHER).status_code

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(enrol, range(6))) == [201, *[409] * 5]


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"name": "a/b"}, "/name", "INVALID_NAME"),
        ({"name": ""}, "/name", "INVALID_VALUE"),
        ({"name": "x" * 256}, "/name", "INVALID_VALUE"),
        ({"name": "01a1fc20-9b2b-7a5e-81f7-1cb0f893b84e"}, "/name", "INVALID_NAME"),
        ({"capabilities": "web"}, "/capabilities", "INVALID_TYPE"),
        ({"capabilities": [7]}, "/capabilities/0", "INVALID_TYPE"),
        ({"gateway": "nowhere"}, "/gateway", "INVALID_VALUE"),
        ({"max_concurrent": 0}, "/max_concurrent", "INVALID_VALUE"),
        ({"files": {"../etc": "x"}}, "/files/..~1etc", "INVALID_NAME"),
        ({"files": {"a.md": 7}}, "/files/a.md", "INVALID_TYPE"),
        ({"status": "online"}, "/status", "UNKNOWN_FIELD"),
        ({"api_key": "x"}, "/api_key", "UNKNOWN_FIELD"),
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_registration_that_makes_no_sense_is_refused(
    api: Api, body: dict[str, Any], pointer: str, code: str
) -> None:
    error = api.done(api.post("/api/agents/register", {**RESEARCHER, **body}), 422)["errors"][0]
    assert (error["pointer"], error["code"]) == (pointer, code)
    assert api.done(api.get("/api/agents"))["items"] == []


@pytest.mark.parametrize("missing", ["name", "role", "capabilities"])
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_registration_needs_name_role_and_capabilities(api: Api, missing: str) -> None:
    body = {name: value for name, value in RESEARCHER.items() if name != missing}
    (error,) = api.done(api.post("/api/agents/register", body), 422)["errors"]
    assert (error["pointer"], error["code"]) == (f"/{missing}", "MISSING_FIELD")


OWN = [
    ("POST", "/heartbeat", {}),
    ("POST", "/rotate-key", {}),
    ("POST", "/work", {}),
    ("POST", "/work/x/renew", {}),
    ("POST", "/work/x/complete", {"text": "t"}),
    ("POST", "/work/x/fail", {"error": {"message": "m"}}),
    ("PATCH", "", {"level": "x"}),
    ("GET", "", None),
]


@pytest.mark.parametrize(("method", "path", "body"), OWN)
def test_an_agents_key_acts_for_its_own_alone(api: Api, method: str, path: str, body: Any) -> None:
    own, made = api.enrolled("mine")
    _, other = api.enrolled("theirs")
    enrolment = api.with_key("agent")
    elsewhere = api.elsewhere()
    foreign, _ = elsewhere.enrolled("mine")

    def status(caller: Api, agent_id: str) -> int:
        return caller.call(method, f"/api/agents/{agent_id}{path}", json=body).status_code

    assert status(own, made["agent_id"]) in (200, 204, 409)
    assert status(own, other["agent_id"]) == 403
    assert status(enrolment, made["agent_id"]) == 403
    assert status(api, other["agent_id"]) in (200, 204, 409)
    assert status(foreign, made["agent_id"]) == 404
    assert status(elsewhere, made["agent_id"]) == 404
    assert status(own, "nobody") == 404
    assert status(api.without_key(), made["agent_id"]) == 401
    assert status(api.with_key("operate", "define"), made["agent_id"]) == 403


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_an_agents_key_makes_no_other_calls(api: Api) -> None:
    own, made = api.enrolled("mine")
    for method, path in (
        ("GET", "/api/agents"),
        ("GET", "/api/gateways"),
        ("GET", "/api/runs"),
        ("GET", "/api/keys"),
        ("POST", "/api/keys"),
        ("POST", "/api/gateways"),
        ("POST", "/api/workflows"),
        ("DELETE", f"/api/agents/{made['agent_id']}"),
    ):
        assert own.call(method, path, json={}).status_code == 403, path


def test_a_heartbeat_says_how_it_is(api: Api) -> None:
    own, made = api.enrolled("mine")
    path = f"/api/agents/{made['agent_id']}/heartbeat"
    before = api.done(api.get("/api/agents/mine"))
    agent = own.done(own.post(path, {"status": "busy", "queued_task_count": 4}))
    assert (agent["status"], agent["queued_task_count"]) == ("busy", 4)
    assert agent["heartbeat_at"] > before["heartbeat_at"]
    assert own.done(own.post(path))["status"] == "busy"
    assert own.post(path, {"status": "offline"}).status_code == 422
    assert own.post(path, {"queued_task_count": -1}).status_code == 422


def test_six_heartbeats_a_minute_over_all_processes(make_api: Make, engine: Engine) -> None:
    first, second = make_api(), make_api()
    own, made = first.enrolled("mine")
    there = second.using(own.key)
    path = "/api/agents/mine/heartbeat"
    callers = [own, there] * 5
    with ThreadPoolExecutor(len(callers)) as pool:
        answers = list(pool.map(lambda caller: caller.post(path), callers))
    assert sorted(answer.status_code for answer in answers) == [200] * 6 + [429] * 4
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert 50 <= int(refused.headers["Retry-After"]) <= 61
    assert refused.json is not None
    assert refused.json["code"] == "RATE_LIMITED"
    with engine.deps.db.read() as session:
        beats = json.loads(session.execute(text("SELECT heartbeats FROM agent")).scalar_one())
    execute(engine, "UPDATE agent SET heartbeats = :h", h=json.dumps([beats[0] - 60, *beats[1:]]))
    assert [caller.post(path).status_code for caller in (there, own)] == [200, 429]
    assert made["is_new"]


def test_an_agent_that_was_offline_is_online_when_it_is_heard_of(api: Api, engine: Engine) -> None:
    own, _ = api.enrolled("mine")
    for call in (lambda: own.post("/api/agents/mine/heartbeat"), lambda: own.post("/api/agents/mine/work")):
        execute(engine, "UPDATE agent SET status = 'offline'")
        assert call().status_code in (200, 204)
        assert api.done(api.get("/api/agents/mine"))["status"] == "online"
    execute(engine, "UPDATE agent SET status = 'offline'")
    assert register(own, 200, name="mine")["is_new"] is False
    execute(engine, "UPDATE agent SET status = 'offline'")
    assert own.done(own.post("/api/agents/mine/heartbeat", {"status": "stopped"}))["status"] == "stopped"
    assert own.done(own.post("/api/agents/mine/heartbeat"))["status"] == "stopped"
    assert told(engine) == ["agent.online"] * 4


def test_an_agent_that_is_put_online_stays_so(api: Api, engine: Engine) -> None:
    api.enrolled("mine")
    execute(engine, "UPDATE agent SET status = 'offline', heartbeat_at = :at", at=attempts.long_ago(engine))
    assert api.done(api.patch("/api/agents/mine", {"status": "idle"}))["status"] == "idle"
    engine.sweep()
    assert api.done(api.get("/api/agents/mine"))["status"] == "idle"
    assert told(engine) == ["agent.online"] * 2


def test_a_rotated_key_works_through_its_grace(api: Api, engine: Engine) -> None:
    own, made = api.enrolled("mine")
    path = "/api/agents/mine"
    rotated = own.done(own.post(f"{path}/rotate-key", {"grace_seconds": 300}))
    assert set(rotated) == {"agent_id", "api_key", "grace_until"}
    assert rotated["agent_id"] == made["agent_id"]
    new = api.using(rotated["api_key"])
    assert [caller.get(path).status_code for caller in (own, new)] == [200, 200]
    shown = {key["id"]: key for key in api.done(api.get("/api/keys"))["items"] if key["agent_id"]}
    assert sorted(key["expires_at"] or "" for key in shown.values()) == ["", rotated["grace_until"]]
    execute(engine, "UPDATE api_key SET expires_at = created_at WHERE expires_at IS NOT NULL")
    api.app.extensions["orchestrator"].keys.forget()
    assert [caller.get(path).status_code for caller in (own, new)] == [401, 200]


def test_a_rotation_without_grace_ends_the_old_key_at_once(api: Api) -> None:
    own, _ = api.enrolled("mine")
    assert own.get("/api/agents/mine").status_code == 200
    rotated = api.done(api.post("/api/agents/mine/rotate-key", {"grace_seconds": 0}))
    assert own.get("/api/agents/mine").status_code == 401
    assert api.using(rotated["api_key"]).get("/api/agents/mine").status_code == 200


def test_a_second_rotation_does_not_prolong_a_grace(api: Api) -> None:
    own, _ = api.enrolled("mine")
    first = own.done(own.post("/api/agents/mine/rotate-key", {"grace_seconds": 5}))
    new = api.using(first["api_key"])
    second = new.done(new.post("/api/agents/mine/rotate-key", {"grace_seconds": 300}))
    ends = {key["expires_at"] for key in api.done(api.get("/api/keys"))["items"] if key["agent_id"]}
    assert ends == {first["grace_until"], second["grace_until"], None}


@pytest.mark.parametrize("grace", [-1, 301, "5", 1.5, None])
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_grace_has_0_to_300_seconds(api: Api, grace: Any) -> None:
    own, _ = api.enrolled("mine")
    assert own.post("/api/agents/mine/rotate-key", {"grace_seconds": grace}).status_code == 422


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_repeated_rotation_shows_the_same_key(api: Api) -> None:
    own, _ = api.enrolled("mine")
    headers = {"Idempotency-Key": "r1"}
    first = own.post("/api/agents/mine/rotate-key", {"grace_seconds": 60}, headers=headers)
    again = own.post("/api/agents/mine/rotate-key", {"grace_seconds": 60}, headers=headers)
    assert first.json == again.json
    other = api.enrolled("other")[0].post(
        "/api/agents/mine/rotate-key", {"grace_seconds": 60}, headers=headers
    )
    assert other.status_code in (403, 409)


def test_lists_are_filtered(api: Api) -> None:
    api.done(api.post("/api/gateways", {"name": "hub", "url": "ws://127.0.0.1:1"}), 201)
    api.enrolled("a", role="writer", capabilities=["web", "pdf"])
    api.enrolled("b", role="writer", capabilities=["pdf%"], gateway="hub")
    api.enrolled("c", role="reader", capabilities=[])
    api.done(api.post("/api/agents/c/heartbeat", {"status": "stopped"}))

    def names(**query: Any) -> list[str]:
        return [agent["name"] for agent in api.done(api.get("/api/agents", **query))["items"]]

    assert names() == ["a", "b", "c"]
    assert names(role="writer") == ["a", "b"]
    assert names(capability="pdf") == ["a"]
    assert names(status="stopped") == ["c"]
    assert names(gateway="hub") == ["b"]
    assert names(gateway="nowhere") == []
    assert names(role="writer", capability="web", status="online") == ["a"]
    first = api.done(api.get("/api/agents", limit=2))
    assert [agent["name"] for agent in first["items"]] == ["a", "b"]
    assert names(limit=2, cursor=first["next_cursor"]) == ["c"]
    assert api.get("/api/agents", status="asleep").status_code == 422
    assert api.get("/api/agents", role="x", cursor=first["next_cursor"]).status_code == 422


def test_an_agent_is_changed(api: Api) -> None:
    api.done(api.post("/api/gateways", {"name": "hub", "url": "ws://127.0.0.1:1"}), 201)
    own, _ = api.enrolled("mine", rate_limit=5)
    agent = own.done(own.patch("/api/agents/mine", {"gateway": "HUB", "capabilities": ["b", "a"]}))
    assert (agent["gateway"], agent["capabilities"], agent["rate_limit"]) == ("hub", ["a", "b"], 5)
    agent = api.done(api.patch("/api/agents/mine", {"status": "stopped", "gateway": None, "rate_limit": None}))
    assert (agent["status"], agent["gateway"], agent["rate_limit"]) == ("stopped", None, None)
    assert api.done(api.patch("/api/agents/mine", {}))["status"] == "stopped"
    for wrong in ({"name": "x"}, {"id": "x"}, {"load": 1}, {"status": "offline"}, {"gateway": "nowhere"}):
        assert api.patch("/api/agents/mine", wrong).status_code == 422, wrong


def test_a_removed_agent_is_gone_with_its_keys(api: Api) -> None:
    own, made = api.enrolled("mine")
    assert own.delete("/api/agents/mine").status_code == 403
    removed = api.done(api.delete("/api/agents/mine"))
    assert removed["id"] == made["agent_id"]
    assert own.get("/api/agents/mine").status_code == 401
    assert api.get("/api/agents/mine").status_code == 404
    assert api.delete("/api/agents/mine").status_code == 404
    again = register(api.with_key("agent"), name="mine")
    assert again["agent_id"] != made["agent_id"]
    assert own.get("/api/agents/mine").status_code == 401


def test_workspaces_keep_their_agents_apart(api: Api) -> None:
    _, made = api.enrolled("mine", gateway=None)
    api.done(api.post("/api/gateways", {"name": "hub", "url": "ws://127.0.0.1:1"}), 201)
    other = api.elsewhere()
    assert register(other, name="mine")["agent_id"] != made["agent_id"]
    assert other.post("/api/agents/register", {**RESEARCHER, "gateway": "hub"}).status_code == 422
    for path in (f"/api/agents/{made['agent_id']}", "/api/gateways/hub"):
        assert other.get(path).status_code == 404
        assert other.patch(path, {}).status_code == 404
        assert other.delete(path).status_code == 404
    assert [agent["name"] for agent in other.done(other.get("/api/agents"))["items"]] == ["mine"]
    assert api.done(api.get("/api/agents/mine"))["id"] == made["agent_id"]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_key_of_another_installation_works_nowhere(api: Api) -> None:
    text_ = keys.token(Settings(secret_key=SECRET + "!"), "0" * 64)
    assert api.using(text_).get("/api/agents").status_code == 401
