"""The faults that a message can ask of the local gateway: spec "gateway" §7, orchestrator/gateway/script.py."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.gateways import LocalGateway, RawClient, run_params
from tests.support.polling import poll

Raw = Callable[..., RawClient]

LIMIT = 26_214_400


def script(**directive: Any) -> str:
    return "@gateway " + json.dumps(directive)


def test_oversize_is_larger_than_a_client_need_take(raw_client: RawClient) -> None:
    final = raw_client.run(run_params("big", script(size=LIMIT + 1)))
    assert len(final["payload"]["result"]["payloads"][0]["text"]) == LIMIT + 1
    assert max(len(json.dumps(event)) for event in raw_client.events) < 10_000


def test_an_answer_comes_twice(raw_client: RawClient) -> None:
    id_ = raw_client.request("agent", run_params("two", script(twice=True)))
    frames = [raw_client.response(id_) for _ in range(3)]
    assert [frame["payload"]["status"] for frame in frames] == ["accepted", "ok", "ok"]


@pytest.mark.parametrize(("silent", "told"), [(True, []), ("final", ["accepted"])])
def test_a_run_that_is_never_answered_goes_on(
    local_gateway: LocalGateway, raw_client: RawClient, silent: Any, told: list[str]
) -> None:
    id_ = raw_client.request("agent", run_params("mute", script(silent=silent)))
    poll(lambda: [row["status"] for row in local_gateway.runs()] == ["completed"])
    answers = []
    ping = raw_client.request("health", {})
    while (frame := raw_client.receive()).get("id") != ping:
        answers += [frame["payload"]["status"]] if frame.get("id") == id_ else []
    assert answers == told
    assert raw_client.ask("agent.wait", {"runId": "run:mute:1"})["payload"]["status"] == "ok"


def test_noise_comes_before_the_answer(raw_client: RawClient) -> None:
    raw_client.request("agent", run_params("noise", script(garbage="noise")))
    odd = 0
    while True:
        _, data = raw_client.socket.recv_data()
        try:
            frame = json.loads(data)
            if frame["type"] == "res" and frame["payload"].get("summary") == "completed":
                break
        except (ValueError, RecursionError, KeyError, TypeError):
            odd += 1
    assert odd >= 5


def test_an_answer_can_be_none(raw_client: RawClient) -> None:
    assert raw_client.run(run_params("odd", script(garbage="final")))["payload"] == "no object"


@pytest.mark.parametrize(("when", "runs"), [("unaccepted", 0), ("accepted", 1), (True, 1), ("final", 1)])
def test_a_connection_is_cut_once(local_gateway: LocalGateway, raw: Raw, when: Any, runs: int) -> None:
    asked = run_params("cut", script(drop=when))
    client = raw(local_gateway.address)
    client.connect(caps=["session-scoped-events"])
    client.request("agent", asked)
    assert client.is_cut()
    assert len(local_gateway.runs()) == runs
    again = raw(local_gateway.address)
    again.connect()
    assert again.ask("agent", asked)["ok"]


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("draining", "UNAVAILABLE", "Gateway is draining; new tasks are not accepted"),
        ("unknown_agent", "INVALID_REQUEST", 'invalid agent params: unknown agent id "echo"'),
        ("forbidden", "FORBIDDEN", "missing scope: operator.write"),
        ("invalid", "INVALID_REQUEST", "invalid agent params: at /message: refused as scripted"),
    ],
)
def test_runs_that_are_not_accepted(
    local_gateway: LocalGateway, raw_client: RawClient, kind: str, code: str, said: str
) -> None:
    error = raw_client.ask("agent", run_params("no", script(fail=kind)))["error"]
    assert (error["code"], error["message"]) == (code, said)
    assert local_gateway.runs() == []


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("model", "500 "),
        ("credit", "402 "),
        ("rate", "429 "),
        ("request", "400 "),
        ("superseded", "prepared "),
    ],
)
def test_a_provider_that_fails_is_told_in_both_places(raw_client: RawClient, kind: str, said: str) -> None:
    final = raw_client.run(run_params("llm", script(stream=["half "], fail=kind)))
    assert final["ok"] is False
    assert final["payload"]["status"] == "error"
    assert final["payload"]["summary"] == final["error"]["message"]
    assert final["error"]["message"].startswith(said)
    assert "retryable" not in final["error"]
    waited = raw_client.ask("agent.wait", {"runId": "run:llm:1"})["payload"]
    assert (waited["status"], waited["error"]) == ("error", final["error"]["message"])


def test_a_directive_holds_for_the_first_attempts(raw_client: RawClient) -> None:
    message = script(fail="model", times=1, reply="well")
    assert raw_client.run(run_params("t", message))["ok"] is False
    second = raw_client.run(run_params("t", message, idempotencyKey="run:t:2"))
    assert second["payload"]["result"]["payloads"][0]["text"] == "well"


def test_a_key_can_be_in_flight_after_its_end(raw_client: RawClient) -> None:
    asked = run_params("slow", script(settle=0.3))
    final = raw_client.run(asked)
    assert raw_client.ask("agent.wait", {"runId": "run:slow:1"})["payload"]["status"] == "ok"
    assert raw_client.ask("agent", asked)["payload"]["status"] == "in_flight"
    replay = poll(lambda: [a for a in [raw_client.ask("agent", asked)] if a["payload"]["status"] == "ok"])
    assert replay[0]["payload"] == final["payload"]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("agent", []),
        ("agent", run_params("odd", "\ud800")),
        ("agent", run_params("odd", sessionKey="\ud800")),
        ("agents.files.set", {"agentId": "main", "name": "SOUL.md", "content": "\ud800"}),
        ("tasks.list", {"limit": 10**30}),
        ("agent.wait", {"runId": "x", "timeoutMs": 10**400}),
        ("sessions.abort", {"key": None}),
        ("\x00", {}),
    ],
)
def test_odd_requests_are_answered_and_hurt_nobody(
    local_gateway: LocalGateway, raw: Raw, method: str, params: Any
) -> None:
    client = raw(local_gateway.address)
    client.connect(scopes=["operator.admin"])
    assert client.ask(method, params)["ok"] is False
    assert client.run(run_params("after"))["ok"]
