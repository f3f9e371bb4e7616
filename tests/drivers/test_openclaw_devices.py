"""The OpenClaw driver: who this installation is at gateways, and where gateways may be."""

import base64
import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from websockets.sync.server import ServerConnection, serve

from models.errors import InvalidError, OrchestratorError, UnavailableError
from orchestrator.bridge import Pong, Unsent
from orchestrator.core.outcome import Succeeded
from orchestrator.drivers.openclaw_handshake import Address
from orchestrator.drivers.openclaw_identity import Identity
from tests.support.driving import SEED, Drive, Heard, work
from tests.support.gateways import LocalGateway, RawClient, answer, hello_ok

Gateways = Callable[..., LocalGateway]
Raw = Callable[..., RawClient]


def bytes_of(text: object) -> bytes:
    return base64.urlsafe_b64decode(str(text) + "==")


def test_the_same_seed_is_the_same_device_and_signs_what_it_asks_for() -> None:
    one, same, other = Identity(SEED), Identity(SEED), Identity(bytes(32))
    assert one.id == same.id != other.id
    proof = one.proof(scopes=["a", "b"], secret="token", nonce="n", signed_at=7)
    key = bytes_of(proof["publicKey"])
    assert hashlib.sha256(key).hexdigest() == proof["id"] == one.id
    text = f"v3|{one.id}|gateway-client|backend|operator|a,b|7|token|n|linux|"
    Ed25519PublicKey.from_public_bytes(key).verify(bytes_of(proof["signature"]), text.encode())
    assert "=" not in f"{proof['publicKey']}{proof['signature']}"


def test_a_gateway_on_loopback_lets_us_in_without_a_word(
    drive: Drive, local_gateway: LocalGateway, heard: Heard
) -> None:
    assert isinstance(drive(local_gateway.address).dispatch(work("x")), Succeeded)
    assert heard.tokens == []


def pair(raw: Raw, gateway: LocalGateway, reason: str) -> None:
    """An operator approves the request that the reason names, with the command that it gives."""
    request_id = reason.rpartition("openclaw devices approve ")[2].strip("`")
    operator = raw(gateway.address)
    client = {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"}
    assert operator.connect(client=client, scopes=["operator.pairing"])["ok"]
    assert operator.ask("device.pair.approve", {"requestId": request_id})["ok"]
    operator.close()


def test_a_remote_gateway_wants_an_approval_and_says_which(
    gateways: Gateways, drive: Drive, raw: Raw, heard: Heard
) -> None:
    gateway = gateways(pairing="manual")
    driver = drive(gateway.address)
    found = driver.dispatch(work("x"))
    assert isinstance(found, Unsent)
    assert "not paired" in found.reason
    pair(raw, gateway, found.reason)
    driver.gateway.ping(driver.endpoint, 2.0)
    assert isinstance(driver.dispatch(work("x")), Succeeded)
    gateway.restart()
    assert isinstance(driver.dispatch(work("w")), Succeeded)
    [(name, token)] = heard.tokens  # told once, and let in with it again
    assert name == "gateway"
    by_device = drive(gateway.address)
    by_device.at(replace(by_device.endpoint, token=None, device_token=token))
    assert isinstance(by_device.dispatch(work("y")), Succeeded)
    stale = drive(gateway.address)
    stale.at(replace(stale.endpoint, token=None, device_token="another"))
    refused = stale.dispatch(work("z"))
    assert isinstance(refused, Unsent)
    assert token not in refused.reason


def test_more_scopes_than_were_approved_want_another_approval(
    gateways: Gateways, drive: Drive, raw: Raw
) -> None:
    gateway = gateways(pairing="manual")
    driver = drive(gateway.address)
    found = driver.dispatch(work("x"))
    assert isinstance(found, Unsent)
    pair(raw, gateway, found.reason)
    with pytest.raises(UnavailableError, match="asks for more than") as refused:
        driver.gateway.provision(driver.endpoint, "echo", {"SOUL.md": "calm"})
    assert not isinstance(refused.value, InvalidError)
    pair(raw, gateway, str(refused.value))
    driver.gateway.provision(driver.endpoint, "echo", {"SOUL.md": "calm"})
    assert gateway.file("echo", "SOUL.md") == "calm"


def test_where_the_shared_token_is_wrong_the_device_token_lets_us_in(drive: Drive) -> None:
    tokens: list[dict[str, str]] = []

    def talk(socket: ServerConnection) -> None:
        socket.send(json.dumps({"type": "event", "event": "connect.challenge", "payload": {}}))
        request = json.loads(socket.recv())
        tokens.append(request["params"]["auth"])
        if "token" in tokens[-1]:
            details = {"code": "AUTH_TOKEN_MISMATCH", "canRetryWithDeviceToken": True}
            error = {"code": "INVALID_REQUEST", "message": "mismatch", "details": details}
            socket.send(json.dumps({"type": "res", "id": request["id"], "ok": False, "error": error}))
            return
        answer(socket, request, hello_ok())
        for message in socket:
            answer(socket, json.loads(message), {"ok": True})

    with serve(talk, "127.0.0.1", 0, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        driver = drive(Address(url=url, token="of yesterday", device_token="ours"))
        assert driver.gateway.ping(driver.endpoint, 5.0) == Pong(agents=())
        driver.gateway.close()
        server.shutdown()
        thread.join()
    assert tokens == [{"token": "of yesterday"}, {"deviceToken": "ours"}]


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "[fe80::1]", "100.100.100.200", "168.63.129.16", "[::ffff:169.254.169.254]", "[fd00:ec2::254]"],
)
def test_gateways_are_on_no_link_local_or_metadata_address(drive: Drive, host: str) -> None:
    driver = drive(Address(url=f"ws://{host}:80", token="t"))
    found = driver.dispatch(work("x"))
    assert isinstance(found, Unsent)
    assert "ORCHESTRATOR_HTTP_ALLOW" in found.reason
    with pytest.raises(OrchestratorError, match="link-local or metadata"):
        driver.gateway.ping(driver.endpoint, 1.0)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ws://", "ws://127.0.0.1:99999", "127.0.0.1:1", ""])
def test_an_address_that_is_none_is_named(drive: Drive, url: str) -> None:
    found: Any = drive(Address(url=url, token="t")).dispatch(work("x"))
    assert isinstance(found, Unsent)
    assert "no ws:// URL" in found.reason
