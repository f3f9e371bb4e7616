"""The local gateway speaks the frames of the real one: spec "gateway" §2 to §4 and §7."""

import json
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websocket import WebSocketBadStatusException

from orchestrator.drivers.gateways import read_address
from orchestrator.settings import Settings
from tests.support.gateways import SCOPES, LocalGateway, RawClient
from tests.support.polling import poll
from tests.support.processes import StartProgram

Raw = Callable[..., RawClient]


@pytest.fixture
def client(local_gateway: LocalGateway, raw: Raw) -> RawClient:
    client = raw(local_gateway.address)
    assert client.connect()["ok"]
    return client


def run_params(name: str, message: str = "hello", **more: Any) -> dict[str, Any]:
    return {
        "message": message,
        "agentId": "echo",
        "sessionKey": f"agent:echo:{name}",
        "idempotencyKey": f"run:{name}:1",
        "timeout": 30,
    } | more


def test_hello_names_protocol_boot_scopes_and_methods(local_gateway: LocalGateway, raw: Raw) -> None:
    payload = raw(local_gateway.address).connect()["payload"]
    assert payload["type"] == "hello-ok"
    assert payload["protocol"] == 4
    assert payload["server"]["bootId"] == local_gateway.server.boot_id
    assert payload["auth"]["scopes"] == SCOPES
    assert payload["policy"] == {
        "maxPayload": 26_214_400,
        "maxBufferedBytes": 52_428_800,
        "tickIntervalMs": 30_000,
    }
    assert {"agent", "agent.wait", "sessions.abort", "tasks.list"} <= set(payload["features"]["methods"])


@pytest.mark.parametrize(
    ("changes", "code", "reason", "close"),
    [
        ({"token": "wrong"}, "INVALID_REQUEST", "AUTH_TOKEN_MISMATCH", 1008),
        ({"token": None}, "NOT_PAIRED", "DEVICE_IDENTITY_REQUIRED", 1008),
        ({"minProtocol": 3, "maxProtocol": 3}, "INVALID_REQUEST", "PROTOCOL_MISMATCH", 1002),
        ({"minProtocol": 5, "maxProtocol": 6}, "INVALID_REQUEST", "PROTOCOL_MISMATCH", 1002),
        ({"extra": 1}, "INVALID_REQUEST", None, 1008),
        (
            {"client": {"id": "mine", "version": "1", "platform": "x", "mode": "backend"}},
            "INVALID_REQUEST",
            None,
            1008,
        ),
        (
            {"client": {"id": "cli", "version": "1", "platform": "x", "mode": "mine"}},
            "INVALID_REQUEST",
            None,
            1008,
        ),
    ],
)
def test_handshake_is_refused(
    local_gateway: LocalGateway, changes: dict[str, Any], code: str, reason: str | None, close: int, raw: Raw
) -> None:
    client = raw(local_gateway.address)
    answer = client.connect(**changes)
    assert answer["ok"] is False
    assert answer["error"]["code"] == code
    assert answer["error"].get("details", {}).get("code") == reason
    assert client.receive()["code"] == close


def test_a_range_around_the_protocol_is_taken(local_gateway: LocalGateway, raw: Raw) -> None:
    assert raw(local_gateway.address).connect(minProtocol=3, maxProtocol=5)["payload"]["protocol"] == 4


@pytest.mark.parametrize(
    ("first", "close"),
    [
        ("no json", 1000),
        ({"jsonrpc": "2.0", "id": 1, "method": "health"}, 1008),
        ({"type": "req", "id": "1", "method": "health"}, 1008),
        ({"type": "req", "id": "1", "method": "connect", "params": {"x": "y" * 70_000}}, 1009),
    ],
)
def test_a_bad_first_frame_ends_the_socket(
    local_gateway: LocalGateway, first: Any, close: int, raw: Raw
) -> None:
    client = raw(local_gateway.address)
    client.receive()
    client.send(first)
    assert client.receive()["code"] == close


def test_a_foreign_origin_is_refused(local_gateway: LocalGateway, raw: Raw) -> None:
    client = raw(local_gateway.address, suppress_origin=False)
    assert client.connect()["error"]["details"]["code"] == "CONTROL_UI_ORIGIN_NOT_ALLOWED"


def test_a_forwarded_client_is_refused_before_the_upgrade(local_gateway: LocalGateway, raw: Raw) -> None:
    with pytest.raises(WebSocketBadStatusException, match="403"):
        raw(local_gateway.address, header=["X-Forwarded-For: 1.2.3.4"])


def test_others_than_backend_and_cli_get_no_scopes_and_no_word(local_gateway: LocalGateway, raw: Raw) -> None:
    client = raw(local_gateway.address)
    who = {"id": "gateway-client", "version": "1", "platform": "linux", "mode": "cli"}
    assert client.connect(client=who)["payload"]["auth"]["scopes"] == []
    refused = client.ask("agent", run_params("a"))["error"]
    assert refused["code"] == "FORBIDDEN"
    assert refused["details"] == {
        "code": "MISSING_SCOPE",
        "missingScope": "operator.write",
        "requiredScopes": ["operator.write"],
    }
    assert client.ask("health", {})["payload"]["ok"]


def test_read_alone_may_list_and_not_run(local_gateway: LocalGateway, raw: Raw) -> None:
    client = raw(local_gateway.address)
    client.connect(scopes=["operator.read"])
    assert client.ask("tasks.list", {})["ok"]
    assert client.ask("agents.list", {})["payload"]["defaultId"] == "main"
    assert client.ask("agent", run_params("a"))["error"]["code"] == "FORBIDDEN"


def test_params_are_strict_and_methods_known(client: RawClient) -> None:
    extra = client.ask("agent", run_params("a", foo=1))["error"]
    assert extra["message"] == "invalid agent params: at root: unexpected property 'foo'"
    assert client.ask("agent", run_params("a", cwd="/"))["error"]["code"] == "INVALID_REQUEST"
    missing = client.ask("agent", {"message": "x"})["error"]
    assert "required property 'idempotencyKey'" in missing["message"]
    assert client.ask("agent", run_params("a", timeout=True))["error"]["code"] == "INVALID_REQUEST"
    assert client.ask("tasks.execute", {})["error"]["message"] == "unknown method: tasks.execute"


def test_a_run_answers_twice_and_its_id_is_the_key(client: RawClient) -> None:
    id_ = client.request("agent", run_params("Two", sessionKey="agent:echo:TWO"))
    accepted, final = client.response(id_), client.response(id_)
    assert accepted["payload"]["status"] == "accepted"
    assert accepted["payload"]["runId"] == final["payload"]["runId"] == "run:Two:1"
    assert accepted["payload"]["sessionKey"] == "agent:echo:two"
    assert final["payload"]["status"] == "ok"
    assert final["payload"]["summary"] == "completed"
    assert final["payload"]["result"]["payloads"] == [{"text": "hello", "mediaUrl": None}]
    meta = final["payload"]["result"]["meta"]["agentMeta"]
    assert meta["usage"]["cost"]["total"] == meta["costUsd"] > 0


def test_session_keys_are_made_canonical(client: RawClient, raw: Raw) -> None:
    bare = client.ask("agent", run_params("bare", sessionKey="Bare"))["payload"]
    assert bare["sessionKey"] == "agent:echo:bare"
    without = run_params("none")
    del without["sessionKey"], without["agentId"]
    assert client.response(client.request("agent", without))["payload"]["sessionKey"] == "agent:main:main"
    other = raw(client.address)
    other.connect()
    wrong = other.ask("agent", run_params("wrong", sessionKey="agent:other:x"))["error"]
    assert "does not match" in wrong["message"]
    upper = other.ask("tasks.list", {"sessionKey": "agent:echo:BARE"})["payload"]["tasks"]
    assert upper == []


def test_a_key_again_is_in_flight_then_the_cached_answer(client: RawClient) -> None:
    slow = run_params("again", '@gateway {"delay": 0.2}')
    first = client.request("agent", slow)
    assert client.response(first)["payload"]["status"] == "accepted"
    assert client.ask("agent", slow)["payload"]["status"] == "in_flight"
    final = client.response(first)
    replay = client.ask("agent", run_params("again", "another message"))
    assert replay["payload"] == final["payload"]


def test_errors_are_cached_too(client: RawClient) -> None:
    failing = run_params("bad", '@gateway {"fail": "model"}')
    id_ = client.request("agent", failing)
    client.response(id_)
    final = client.response(id_)
    assert final["ok"] is False
    assert final["payload"]["status"] == "error"
    assert final["error"]["code"] == "UNAVAILABLE"
    again = client.ask("agent", run_params("bad", "well now"))
    assert again["error"] == final["error"]


@pytest.mark.parametrize(
    ("directive", "ok", "status", "summary"),
    [
        ('{"fail": "empty"}', True, "error", "failed"),
        ('{"timeout": true}', True, "timeout", "aborted"),
    ],
)
def test_other_ends(client: RawClient, directive: str, ok: bool, status: str, summary: str) -> None:
    id_ = client.request("agent", run_params("end", "@gateway " + directive))
    client.response(id_)
    final = client.response(id_)
    assert (final["ok"], final["payload"]["status"], final["payload"]["summary"]) == (ok, status, summary)
    assert final["payload"]["result"]["payloads"][0]["isError"] is True


def test_the_time_limit_of_a_run_holds(client: RawClient) -> None:
    id_ = client.request("agent", run_params("late", '@gateway {"hang": true}', timeout=0))
    client.response(id_)
    assert client.response(id_)["payload"]["status"] == "timeout"


def test_runs_of_one_session_wait_for_each_other(client: RawClient) -> None:
    one = run_params("s1", '@gateway {"hang": true}', sessionKey="agent:echo:shared")
    two = run_params("s2", sessionKey="agent:echo:shared")
    first, second = client.request("agent", one), client.request("agent", two)
    assert client.response(first)["payload"]["status"] == "accepted"
    assert client.response(second)["payload"]["status"] == "accepted"
    rows = client.ask("tasks.list", {"sessionKey": "agent:echo:shared"})["payload"]["tasks"]
    assert [row["status"] for row in rows] == ["queued", "running"]
    client.request("sessions.abort", {"key": "agent:echo:shared", "runId": "run:s1:1"})
    ended = {frame["id"]: frame["payload"].get("status") for frame in _responses(client, 3)}
    assert (ended[first], ended[second]) == ("timeout", "ok")


def test_no_more_runs_at_once_than_allowed(raw: Raw, gateways: Callable[..., LocalGateway]) -> None:
    gateway = gateways(most=2)
    client = raw(gateway.address)
    client.connect(caps=["session-scoped-events"])
    for number in range(4):
        client.request("agent", run_params(f"cap{number}", '@gateway {"hang": true}'))
    poll(lambda: len(gateway.runs()) == 4)
    states = [row["status"] for row in gateway.runs()]
    assert sorted(states) == ["queued", "queued", "running", "running"]


@pytest.mark.parametrize("method", ["sessions.abort", "chat.abort"])
def test_an_abort_ends_what_runs_and_what_waits(client: RawClient, method: str) -> None:
    key = "agent:echo:abort"
    first = client.request("agent", run_params("a1", '@gateway {"hang": true}', sessionKey=key))
    second = client.request("agent", run_params("a2", '@gateway {"hang": true}', sessionKey=key))
    client.response(first)
    client.response(second)
    name = "key" if method == "sessions.abort" else "sessionKey"
    client.request(method, {name: key})
    finals = _responses(client, 3)
    aborted = [frame["payload"] for frame in finals if frame["payload"].get("summary") == "aborted"]
    assert len(aborted) == 2
    assert all(payload["status"] == "timeout" and payload["stopReason"] == "rpc" for payload in aborted)
    waited = client.ask("agent.wait", {"runId": "run:a1:1", "timeoutMs": 1})["payload"]
    assert (waited["status"], waited["stopReason"]) == ("error", "rpc")
    assert client.ask("sessions.abort", {"key": key})["payload"]["status"] == "no-active-run"


def _responses(client: RawClient, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while len(found) < count:
        frame = client.receive()
        if frame["type"] == "res":
            found.append(frame)
    return found


def test_wait_tells_no_usage_and_cuts_the_text(client: RawClient) -> None:
    id_ = client.request("agent", run_params("long", '@gateway {"size": 20000}'))
    client.response(id_)
    assert len(client.response(id_)["payload"]["result"]["payloads"][0]["text"]) == 20_000
    waited = client.ask("agent.wait", {"runId": "run:long:1", "timeoutMs": 1000})["payload"]
    assert waited["status"] == "ok"
    assert len(waited["terminalReply"]["text"]) == 4096
    assert "usage" not in waited
    assert waited["endedAt"] >= waited["startedAt"]


def test_wait_for_an_unknown_run_looks_like_one_that_goes_on(client: RawClient) -> None:
    waited = client.ask("agent.wait", {"runId": "nobody", "timeoutMs": 20})["payload"]
    assert waited == {"runId": "nobody", "status": "timeout"}


def test_the_transcript_holds_text_cost_and_run(client: RawClient) -> None:
    id_ = client.request("agent", run_params("told", '@gateway {"reply": {"a": 1}}'))
    client.response(id_)
    client.response(id_)
    asked, told = client.ask("chat.history", {"sessionKey": "agent:echo:told"})["payload"]["messages"]
    assert asked["idempotencyKey"] == "run:told:1:user"
    assert told["__openclaw"]["runId"] == "run:told:1"
    assert json.loads(told["content"][0]["text"]) == {"a": 1}
    assert told["usage"]["cost"]["total"] > 0


def test_commands_to_the_session_are_forbidden(client: RawClient) -> None:
    assert client.ask("agent", run_params("cmd", "  /reset all"))["error"]["code"] == "FORBIDDEN"


def test_events_reach_readers_unless_scoped_to_sessions(local_gateway: LocalGateway, raw: Raw) -> None:
    every, scoped, named = (raw(local_gateway.address) for _ in range(3))
    every.connect()
    scoped.connect(caps=["session-scoped-events"])
    named.connect(caps=["session-scoped-events"])
    assert named.ask("sessions.messages.subscribe", {"key": "agent:echo:ev"})["ok"]
    id_ = every.request("agent", run_params("ev", '@gateway {"stream": ["one ", "two"]}'))
    every.response(id_)
    every.response(id_)
    for client in (scoped, named):
        client.ask("health", {})
    said = [
        event["payload"]["data"] for event in every.events if event["payload"].get("stream") == "assistant"
    ]
    assert said == [{"text": "one ", "delta": "one "}, {"text": "one two", "delta": "two"}]
    assert {event["event"] for event in scoped.events} == {"task"}
    assert {event["event"] for event in named.events} == {"task", "agent"}
    seqs = [event["seq"] for event in every.events]
    assert seqs == sorted(set(seqs))


def test_ticks_come(raw: Raw, gateways: Callable[..., LocalGateway]) -> None:
    gateway = gateways(tick=0.05)
    client = raw(gateway.address)
    client.connect()
    assert [client.receive()["event"] for _ in range(2)] == ["tick", "tick"]


def test_silence_before_connect_ends_the_socket(raw: Raw, gateways: Callable[..., LocalGateway]) -> None:
    gateway = gateways(connect_timeout=0.05)
    client = raw(gateway.address)
    client.receive()
    assert client.receive()["code"] == 1000


def test_a_starting_gateway_asks_for_patience(local_gateway: LocalGateway, raw: Raw) -> None:
    local_gateway.server.starting = True
    client = raw(local_gateway.address)
    error = client.connect()["error"]
    assert error["code"] == "UNAVAILABLE"
    assert error["retryable"] is True
    assert error["retryAfterMs"] == 500
    assert client.receive()["code"] == 1013


def test_a_stop_lets_runs_end_and_says_goodbye(local_gateway: LocalGateway, raw: Raw) -> None:
    client = raw(local_gateway.address)
    client.connect(caps=["session-scoped-events"])
    id_ = client.request("agent", run_params("last", '@gateway {"delay": 0.2}'))
    client.response(id_)
    boot = local_gateway.server.boot_id
    local_gateway.stop()
    assert client.response(id_)["payload"]["status"] == "ok"
    frames = [client.receive()]
    while frames[-1]["type"] != "close":
        frames.append(client.receive())
    assert frames[-2]["event"] == "shutdown"
    assert frames[-1]["code"] == 1012
    local_gateway.start()
    again = raw(local_gateway.address)
    assert again.connect()["payload"]["server"]["bootId"] != boot
    rows = again.ask("tasks.list", {"sessionKey": "agent:echo:last"})["payload"]["tasks"]
    assert [row["status"] for row in rows] == ["completed"]


def test_health_answers_plain_http(local_gateway: LocalGateway) -> None:
    for path in ("/healthz", "/readyz"):
        with urllib.request.urlopen(f"http://127.0.0.1:{local_gateway.port}{path}") as answer:
            assert answer.status == 200


def test_a_directive_that_is_wrong_is_refused(client: RawClient) -> None:
    for directive in ('{"delay": "long"}', '{"fail": "so"}', '{"unknown": 1}', "[]", "{"):
        error = client.ask("agent", run_params("d", "@gateway " + directive))["error"]
        assert "@gateway directive" in error["message"]


def test_the_demo_agents_answer_json(client: RawClient) -> None:
    lead = {"name": "Ada", "company": "Analytical Ltd", "title": "CTO", "email": "ada@analytical.io"}
    message = "Task:\nQualify\n\nInput:\n" + json.dumps(lead | {"score": 50, "route": "hot"})
    found = {}
    for agent in ("researcher", "scorer", "notifier"):
        id_ = client.request(
            "agent", run_params(agent, message, agentId=agent, sessionKey=f"agent:{agent}:demo")
        )
        client.response(id_)
        text = client.response(id_)["payload"]["result"]["payloads"][0]["text"]
        found[agent] = json.loads(text)
    assert found["researcher"]["size"] in ("small", "medium", "large")
    assert found["researcher"]["industry"]
    assert 0 <= found["scorer"]["score"] <= 100
    assert "decision maker" in found["scorer"]["reason"]
    assert found["notifier"]["message"] == "Ada of Analytical Ltd scored 50 and goes to hot."


def test_the_process_writes_its_address_and_leaves_nothing(
    programs: StartProgram, tmp_path: Path, raw: Raw
) -> None:
    data_dir = tmp_path / "gateway"
    program = programs(Settings(), "-m", "orchestrator.gateway", "--data-dir", str(data_dir))
    file = data_dir / "gateway.json"
    poll(file.exists, 20)
    assert file.stat().st_mode & 0o777 == 0o600
    assert (data_dir / "gateway.db").stat().st_mode & 0o077 == 0
    address = read_address(file)
    client = raw(address)
    assert client.connect(token=address.token)["ok"]
    program.signal(signal.SIGTERM)
    assert program.stop(10) == 0
    assert not file.exists()
