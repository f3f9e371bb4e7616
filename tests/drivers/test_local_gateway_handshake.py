"""The handshake of the local gateway: spec "gateway" §2, §3 and §7."""

import http.client
from collections.abc import Callable
from typing import Any

import pytest
from websocket import WebSocketBadStatusException

from tests.support.gateways import SCOPES, LocalGateway, RawClient, run_params
from tests.support.polling import poll

Raw = Callable[..., RawClient]


def test_hello_names_protocol_boot_scopes_and_methods(local_gateway: LocalGateway, raw: Raw) -> None:
    payload = raw(local_gateway.address).connect()["payload"]
    assert payload["type"] == "hello-ok"
    assert payload["protocol"] == 4
    assert payload["server"]["bootId"] == local_gateway.server.boot_id
    assert payload["auth"]["scopes"] == SCOPES
    policy = payload["policy"]
    assert (policy["maxPayload"], policy["maxBufferedBytes"]) == (26_214_400, 52_428_800)
    assert policy["tickIntervalMs"] == 30_000
    assert payload["snapshot"]["suspension"] == {"phase": "accepting"}
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


def test_a_first_request_that_is_no_connect_is_refused(local_gateway: LocalGateway, raw: Raw) -> None:
    client = raw(local_gateway.address)
    client.receive()
    error = client.ask("health", {})["error"]
    assert error["message"] == "invalid handshake: first request must be connect"
    assert client.receive() == {"type": "close", "code": 1008, "reason": error["message"]}


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


def test_health_answers_plain_http(local_gateway: LocalGateway) -> None:
    assert [_status(local_gateway, path) for path in ("/healthz", "/readyz")] == [200, 200]
    local_gateway.server.starting = True
    assert [_status(local_gateway, path) for path in ("/healthz", "/readyz")] == [200, 503]


def _status(gateway: LocalGateway, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=5)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_client_that_answers_no_ping_is_dropped(raw: Raw, gateways: Callable[..., LocalGateway]) -> None:
    gateway = gateways(ping=0.3)
    reading, silent = raw(gateway.address), raw(gateway.address)
    reading.connect()
    silent.connect()
    poll(lambda: reading.ask("health", {})["ok"] and gateway.server.connections == 1)
    assert reading.ask("health", {})["ok"]


def test_a_frame_that_is_too_large_ends_the_socket(raw_client: RawClient) -> None:
    raw_client.request("agent", run_params("large", "x" * 27_000_000))
    assert raw_client.receive()["code"] == 1009
