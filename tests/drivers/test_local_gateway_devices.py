"""Devices at the local gateway: spec "gateway" §3, Device identity."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.devices import Device, base64url
from tests.support.gateways import SCOPES, LocalGateway, RawClient, run_params

Raw = Callable[..., RawClient]

CLI = {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"}
# Of those that get no scopes without a device.
ELSEWHERE = {
    "id": "gateway-client",
    "version": "1",
    "platform": "Linux",
    "mode": "cli",
    "deviceFamily": "Server",
}


@pytest.mark.parametrize("version", ["v3", "v2"])
def test_on_loopback_a_device_is_paired_without_a_word(
    local_gateway: LocalGateway, raw: Raw, version: str
) -> None:
    device = Device(version)
    auth = raw(local_gateway.address).connect(device=device, client=ELSEWHERE)["payload"]["auth"]
    assert (auth["method"], auth["scopes"]) == ("token", SCOPES)
    client = raw(local_gateway.address)
    by_device = {"deviceToken": auth["deviceToken"]}
    again = client.connect(device=device, client=ELSEWHERE, auth=by_device)["payload"]["auth"]
    assert again == auth | {"method": "device-token"}
    assert client.run(run_params("a"))["ok"]


def test_a_backend_on_loopback_needs_no_device_and_is_given_no_token(
    local_gateway: LocalGateway, raw: Raw
) -> None:
    auth = raw(local_gateway.address).connect(device=Device())["payload"]["auth"]
    assert (auth["scopes"], "deviceToken" in auth) == (SCOPES, False)


WEAK = b"too short to be a key"


@pytest.mark.parametrize(
    ("forge", "code"),
    [
        ({"nonce": "another"}, "DEVICE_AUTH_NONCE_MISMATCH"),
        ({"signedAt": 1}, "DEVICE_AUTH_SIGNATURE_EXPIRED"),
        ({"signature": base64url(bytes(64))}, "DEVICE_AUTH_SIGNATURE_INVALID"),
        ({"signature": "no base64!"}, "DEVICE_AUTH_SIGNATURE_INVALID"),
        ({"id": "0" * 64}, "DEVICE_AUTH_DEVICE_ID_MISMATCH"),
        ({"publicKey": Device().public_key}, "DEVICE_AUTH_DEVICE_ID_MISMATCH"),
        (
            {"publicKey": base64url(WEAK), "id": hashlib.sha256(WEAK).hexdigest()},
            "DEVICE_AUTH_PUBLIC_KEY_INVALID",
        ),
    ],
)
def test_a_device_that_proves_nothing_is_refused(
    local_gateway: LocalGateway, raw: Raw, forge: dict[str, Any], code: str
) -> None:
    client = raw(local_gateway.address)
    error = client.connect(device=Device(), forge=forge)["error"]
    assert (error["code"], error["details"]["code"]) == ("INVALID_REQUEST", code)
    assert client.receive()["code"] == 1008


def test_what_was_not_signed_is_not_granted(local_gateway: LocalGateway, raw: Raw) -> None:
    client = raw(local_gateway.address)
    challenge = client.receive()["payload"]
    device, asked = Device(), {"minProtocol": 4, "maxProtocol": 4, "client": CLI, "auth": {"token": "x"}}
    identity = device.identity(asked | {"scopes": ["operator.read"]}, challenge)
    answer = client.ask("connect", asked | {"scopes": ["operator.admin"], "device": identity})
    assert answer["error"]["details"]["code"] == "DEVICE_AUTH_SIGNATURE_INVALID"


@pytest.mark.parametrize(
    ("auth", "code"),
    [({"deviceToken": "forged"}, "AUTH_DEVICE_TOKEN_MISMATCH"), ({}, "AUTH_TOKEN_MISSING")],
)
def test_a_device_needs_a_token_too(
    local_gateway: LocalGateway, raw: Raw, auth: dict[str, str], code: str
) -> None:
    device = Device()
    assert raw(local_gateway.address).connect(device=device, client=ELSEWHERE)["ok"]
    assert raw(local_gateway.address).connect(device=device, auth=auth)["error"]["details"]["code"] == code


@pytest.fixture
def remote(gateways: Callable[..., LocalGateway]) -> LocalGateway:
    return gateways(pairing="manual")


def approve(gateway: LocalGateway, raw: Raw, request_id: str) -> dict[str, Any]:
    """What an operator at the machine gets for an approval."""
    operator = raw(gateway.address)
    operator.connect(client=CLI, scopes=["operator.pairing"])
    return operator.ask("device.pair.approve", {"requestId": request_id})


def refused(client: RawClient, **how: Any) -> dict[str, Any]:
    """The details with which a device is sent to an operator."""
    error = client.connect(**how)["error"]
    assert error["code"] == "NOT_PAIRED"
    assert error["details"]["code"] == "PAIRING_REQUIRED"
    assert client.receive()["code"] == 1008
    return dict(error["details"])


def test_a_remote_device_waits_for_an_operator(remote: LocalGateway, raw: Raw) -> None:
    device = Device()
    details = refused(raw(remote.address), device=device)
    assert details["reason"] == "not-paired"
    assert refused(raw(remote.address), device=device)["requestId"] == details["requestId"]
    approved = approve(remote, raw, details["requestId"])["payload"]
    assert approved["device"]["deviceId"] == device.id
    assert "token" not in str(approved).lower()
    auth = raw(remote.address).connect(device=device)["payload"]["auth"]
    assert auth["scopes"] == SCOPES
    remote.restart()
    kept = {"deviceToken": auth["deviceToken"]}
    assert (
        raw(remote.address).connect(device=device, auth=kept)["payload"]["auth"]["method"] == "device-token"
    )


def test_more_scopes_need_a_new_approval_and_rotate_the_token(remote: LocalGateway, raw: Raw) -> None:
    device, more = Device(), [*SCOPES, "operator.admin"]
    approve(remote, raw, refused(raw(remote.address), device=device)["requestId"])
    first = raw(remote.address).connect(device=device)["payload"]["auth"]["deviceToken"]
    fewer = raw(remote.address).connect(device=device, scopes=SCOPES[:1], auth={"deviceToken": first})
    assert fewer["payload"]["auth"]["scopes"] == SCOPES[:1]
    beyond = raw(remote.address).connect(device=device, scopes=more, auth={"deviceToken": first})
    assert beyond["error"]["details"]["code"] == "AUTH_SCOPE_MISMATCH"
    details = refused(raw(remote.address), device=device, scopes=more)
    assert details["reason"] == "scope-upgrade"
    approve(remote, raw, details["requestId"])
    second = raw(remote.address).connect(device=device, scopes=more)["payload"]["auth"]
    assert (second["scopes"], second["deviceToken"] == first) == (more, False)
    late = raw(remote.address).connect(device=device, auth={"deviceToken": first})
    assert late["error"]["details"]["code"] == "AUTH_DEVICE_TOKEN_MISMATCH"


def test_a_remote_client_without_a_device_gets_no_scopes(remote: LocalGateway, raw: Raw) -> None:
    client = raw(remote.address)
    assert client.connect()["payload"]["auth"]["scopes"] == []
    assert client.ask("tasks.list", {})["error"]["code"] == "FORBIDDEN"


def test_pairing_is_an_operators_with_that_scope(remote: LocalGateway, raw: Raw) -> None:
    details = refused(raw(remote.address), device=Device())
    client = raw(remote.address)
    client.connect(client=CLI)
    missing = client.ask("device.pair.approve", {"requestId": details["requestId"]})["error"]
    assert missing["details"]["missingScope"] == "operator.pairing"
    assert approve(remote, raw, "nobody's")["error"]["message"] == "unknown requestId"
    operator = raw(remote.address)
    operator.connect(client=CLI, scopes=["operator.pairing"])
    waiting = operator.ask("device.pair.list", {})["payload"]["pending"]
    assert [request["requestId"] for request in waiting] == [details["requestId"]]
