"""What a gateway says before and after hello: the same from the local gateway and the real one."""

from collections.abc import Callable
from typing import Any

import pytest
from websocket import WebSocketBadStatusException

from tests.support.devices import Device
from tests.support.either import Either
from tests.support.gateways import RawClient, connect_params

CLIENT = {"id": "gateway-client", "version": "1", "platform": "linux", "mode": "backend"}
TEST_CLIENT = CLIENT | {"id": "test", "mode": "test"}
ADMIN = ["operator.read", "operator.write", "operator.admin"]


def test_a_challenge_comes_first(either: Either) -> None:
    frame = either.knock().receive()
    assert (frame["type"], frame["event"]) == ("event", "connect.challenge")
    assert len(frame["payload"]["nonce"]) == 36
    assert isinstance(frame["payload"]["ts"], int)
    assert isinstance(frame["payload"]["capabilities"], list)


def test_hello(either: Either) -> None:
    client = either.knock()
    hello = client.connect(either.address.token, caps=["tool-events", "of no gateway"])["payload"]
    assert (hello["type"], hello["protocol"]) == ("hello-ok", 4)
    assert {"version", "buildId", "bootId", "connId"} <= set(hello["server"])
    assert {"agent", "agent.wait", "agents.list", "sessions.abort", "tasks.list"} <= set(
        hello["features"]["methods"]
    )
    assert "tasks.execute" not in hello["features"]["methods"]
    assert {"agent", "connect.challenge", "shutdown", "task", "tick"} <= set(hello["features"]["events"])
    assert {"presence", "health", "stateVersion", "uptimeMs", "sessionDefaults"} <= set(hello["snapshot"])
    assert hello["auth"] | {"recoveryScope": ""} == {
        "method": "token",
        "role": "operator",
        "scopes": ["operator.read", "operator.write"],
        "recoveryScope": "",
    }
    assert (hello["policy"]["maxPayload"], hello["policy"]["tickIntervalMs"]) == (26_214_400, 30_000)



def test_hello_tells_of_suspension_attachments_and_the_main_session(either: Either) -> None:
    hello = either.knock().connect(either.address.token)["payload"]
    assert hello["snapshot"]["suspension"] == {"phase": "accepting"}
    assert set(hello["policy"]["attachments"]) == {"maxBytes", "maxImageBytes"}
    assert hello["snapshot"]["sessionDefaults"]["mainSessionKey"] == "agent:main:main"
    assert {"chat", "session.message", "sessions.changed"} <= set(hello["features"]["events"])


REFUSED: dict[str, tuple[dict[str, Any], str, str, str | None, int]] = {
    "a wrong token": (
        {"auth": {"token": "wrong"}},
        "INVALID_REQUEST",
        "unauthorized: gateway token mismatch",
        "AUTH_TOKEN_MISMATCH",
        1008,
    ),
    "no token": ({"auth": {}}, "NOT_PAIRED", "device identity required", "DEVICE_IDENTITY_REQUIRED", 1008),
    "an old protocol": (
        {"minProtocol": 3, "maxProtocol": 3},
        "INVALID_REQUEST",
        "protocol mismatch",
        "PROTOCOL_MISMATCH",
        1002,
    ),
    "a new protocol": (
        {"minProtocol": 5, "maxProtocol": 6},
        "INVALID_REQUEST",
        "protocol mismatch",
        "PROTOCOL_MISMATCH",
        1002,
    ),
    "an unknown property": (
        {"foo": 1},
        "INVALID_REQUEST",
        "invalid connect params: at root: unexpected property 'foo'",
        None,
        1008,
    ),
    "an unknown property of the client": (
        {"client": CLIENT | {"foo": 1}},
        "INVALID_REQUEST",
        "invalid connect params: at /client: unexpected property 'foo'",
        None,
        1008,
    ),
    "an id of its own": (
        {"client": CLIENT | {"id": "orchestrator"}},
        "INVALID_REQUEST",
        "invalid connect params: at /client/id: must be equal to one of the allowed values",
        None,
        1008,
    ),
    "a mode of its own": (
        {"client": CLIENT | {"mode": "workflow"}},
        "INVALID_REQUEST",
        "invalid connect params: at /client/mode: must be equal to one of the allowed values",
        None,
        1008,
    ),
    "a role of its own": ({"role": "boss"}, "INVALID_REQUEST", "invalid role", None, 1008),
}


@pytest.mark.parametrize("case", REFUSED)
def test_who_is_refused(either: Either, case: str) -> None:
    changes, code, message, detail, close = REFUSED[case]
    client = either.knock()
    error = client.connect(either.address.token, **changes)["error"]
    assert (error["code"], error.get("details", {}).get("code")) == (code, detail)
    assert error["message"].startswith(message)
    assert "retryable" not in error
    assert client.receive() == {"type": "close", "code": close, "reason": error["message"]}


def test_a_range_of_protocols_that_holds_ours_is_taken(either: Either) -> None:
    hello = either.knock().connect(either.address.token, minProtocol=3, maxProtocol=5)["payload"]
    assert hello["protocol"] == 4


@pytest.mark.parametrize(
    ("id_", "mode", "kept"),
    [
        ("gateway-client", "backend", True),
        ("cli", "cli", True),
        ("gateway-client", "cli", False),
        ("test", "test", False),
    ],
)
def test_scopes_are_taken_from_clients_without_a_device(
    either: Either, id_: str, mode: str, kept: bool
) -> None:
    client = either.client(client=CLIENT | {"id": id_, "mode": mode})
    answer = client.ask("agents.list", {})
    assert answer["ok"] is kept
    if not kept:
        assert answer["error"] == {
            "code": "FORBIDDEN",
            "message": "missing scope: operator.read",
            "details": {
                "code": "MISSING_SCOPE",
                "missingScope": "operator.read",
                "requiredScopes": ["operator.read"],
            },
        }
    assert client.ask("health", {})["ok"]


FIRST: dict[str, tuple[Any, list[Any]]] = {
    "garbage": ("garbage", [("close", 1000)]),
    "JSON-RPC": ({"jsonrpc": "2.0", "id": 1, "method": "connect"}, [("close", 1008)]),
    "a list": ("[]", [("close", 1008)]),
    "an event": ({"type": "event", "event": "x"}, [("close", 1008)]),
    "too large": (
        {
            "type": "req",
            "id": "1",
            "method": "connect",
            "params": connect_params() | {"userAgent": "x" * 70_000},
        },
        [("close", 1009)],
    ),
    "another request": (
        {"type": "req", "id": "1", "method": "health", "params": {}},
        [("res", "invalid handshake: first request must be connect"), ("close", 1008)],
    ),
}


@pytest.mark.parametrize("case", FIRST)

def test_a_first_frame_that_is_no_connect(either: Either, case: str) -> None:
    said, expected = FIRST[case]
    client = either.knock()
    client.receive()
    client.send(said)
    assert [_short(client.receive()) for _ in expected] == expected


def _short(frame: dict[str, Any]) -> tuple[str, Any]:
    return frame["type"], frame["code"] if frame["type"] == "close" else frame["error"]["message"]


def test_a_foreign_origin_is_refused(either: Either) -> None:
    client = either.knock(origin="http://evil.example", suppress_origin=False)
    error = client.connect(either.address.token)["error"]
    assert (error["code"], error["details"]["code"]) == ("INVALID_REQUEST", "CONTROL_UI_ORIGIN_NOT_ALLOWED")
    assert client.receive()["code"] == 1008


def test_a_proxy_that_nobody_trusts_is_refused(either: Either, raw: Callable[..., RawClient]) -> None:
    with pytest.raises(WebSocketBadStatusException, match="403") as raised:
        raw(either.address, header=["X-Forwarded-For: 192.0.2.1"])
    assert "proxy_attribution_required" in str(raised.value)


@pytest.mark.parametrize("version", ["v3", "v2"])
def test_a_device_signs_the_challenge(either: Either, version: str) -> None:
    answer = either.knock().connect(either.address.token, Device(version))
    assert answer["ok"], answer
    assert answer["payload"]["auth"]["scopes"] == ["operator.read", "operator.write"]


BAD_DEVICES: dict[str, tuple[dict[str, Any], str]] = {
    "another nonce": ({"nonce": "0" * 36}, "DEVICE_AUTH_NONCE_MISMATCH"),
    "an old signature": ({"signedAt": 1}, "DEVICE_AUTH_SIGNATURE_EXPIRED"),
    "another's signature": ({"signature": "A" * 86}, "DEVICE_AUTH_SIGNATURE_INVALID"),
    "another id": ({"id": "0" * 64}, "DEVICE_AUTH_DEVICE_ID_MISMATCH"),
}


@pytest.mark.parametrize("case", BAD_DEVICES)
def test_a_device_that_is_not_what_it_says(either: Either, case: str) -> None:
    forged, code = BAD_DEVICES[case]
    client = either.knock()
    error = client.connect(either.address.token, Device(), forged)["error"]
    assert (error["code"], error["details"]["code"]) == ("INVALID_REQUEST", code)
    assert client.receive()["code"] == 1008


def test_a_device_on_loopback_is_paired_by_itself_and_given_a_token(either: Either) -> None:
    device = Device()
    hello = either.knock().connect(either.address.token, device, client=TEST_CLIENT)["payload"]
    token = {"auth": {"deviceToken": hello["auth"]["deviceToken"]}, "client": TEST_CLIENT}
    auth = either.knock().connect(None, device, **token)["payload"]["auth"]
    assert (auth["method"], auth["scopes"]) == ("device-token", ["operator.read", "operator.write"])
    auth = either.knock().connect(None, device, **token | {"scopes": ["operator.read"]})["payload"]["auth"]
    assert auth["scopes"] == ["operator.read"]


def test_a_device_token_gives_no_more_than_was_granted(either: Either) -> None:
    device = Device()
    hello = either.knock().connect(either.address.token, device, client=TEST_CLIENT)["payload"]
    token = {"auth": {"deviceToken": hello["auth"]["deviceToken"]}, "client": TEST_CLIENT}
    error = either.knock().connect(None, device, **token, scopes=ADMIN)["error"]
    assert error["details"]["code"] == "AUTH_SCOPE_MISMATCH"
    error = either.knock().connect(None, device, **token | {"auth": {"deviceToken": "wrong"}})["error"]
    assert error["details"]["code"] == "AUTH_DEVICE_TOKEN_MISMATCH"


def test_a_trusted_client_on_loopback_is_given_no_device_token(either: Either) -> None:
    hello = either.knock().connect(either.address.token, Device())["payload"]
    assert "deviceToken" not in hello["auth"]
