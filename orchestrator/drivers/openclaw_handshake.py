"""Opening a connection: challenge, connect, hello-ok, and the checks that the protocol leaves to the client.

Source: spec "gateway" §3.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from websocket import WebSocket, WebSocketException

from orchestrator.drivers.addresses import Guard
from orchestrator.drivers.openclaw_dial import dial
from orchestrator.drivers.openclaw_frames import (
    Event,
    Fault,
    GatewayDownError,
    GatewayRefusedError,
    Response,
    mapping_of,
    number_of,
    parse,
    request,
    strings_of,
    text_of,
)
from orchestrator.drivers.openclaw_identity import CLIENT_ID, CLIENT_MODE, PLATFORM, ROLE, Identity

WORK = ("operator.read", "operator.write")
ADMIN = (*WORK, "operator.admin")
_PROTOCOL = 4
_CONNECT_ID = "connect"
_MAX_PAYLOAD = 26_214_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a gateway listens (ws:// or wss://), the shared token that it asks for, the one that it gave."""

    url: str
    token: str | None = field(default=None, repr=False)
    device_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a gateway says of itself. A new `boot_id` means that its memory of runs is gone.

    uptime: seconds that it has run for; 0 where it does not say. device_token: what it lets us in with later.
    """

    boot_id: str
    tick_seconds: float
    version: str | None = None
    methods: frozenset[str] = frozenset()
    uptime: float = 0.0
    max_payload: int = _MAX_PAYLOAD
    device_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who connects, and what for: the scopes that are asked for."""

    identity: Identity
    guard: Guard
    scopes: Sequence[str] = WORK


class TokenRefusedError(GatewayRefusedError):
    """The shared token is wrong, and the device's own may be right."""


class NotPairedError(GatewayRefusedError):
    """An operator has to approve this installation, or what it asks for; another try may find that done."""


def open_socket(address: Address, client: Client, timeout: float) -> tuple[WebSocket, Hello]:
    """A socket that has said hello, within `timeout` seconds.

    Raises GatewayDownError (refused, starting, draining, silent) and GatewayRefusedError (token, protocol,
    scopes, pairing).
    """
    until = time.monotonic() + timeout
    try:
        return _open(address, client, until)
    except TokenRefusedError:
        if address.device_token is None or address.token is None:
            raise
        return _open(replace(address, token=None), client, until)


def hang_up(socket: WebSocket) -> None:
    """Close the descriptor, without a word to the other side."""
    socket.shutdown()  # type: ignore[no-untyped-call]


def _open(address: Address, client: Client, until: float) -> tuple[WebSocket, Hello]:
    socket = dial(address.url, client.guard, max(0.05, until - time.monotonic()))
    try:
        challenge = _expect_challenge(socket, until)
        socket.send(request(_CONNECT_ID, "connect", _params(address, client, challenge)))
        return socket, _hello(_expect_answer(socket, until), client)
    except (WebSocketException, OSError) as error:
        hang_up(socket)
        raise GatewayDownError(
            f"the gateway at {address.url} ended the handshake: {error}", retry_after=0.5
        ) from error
    except BaseException:
        hang_up(socket)
        raise


def _params(address: Address, client: Client, challenge: Event) -> dict[str, object]:
    auth = {"token": address.token} if address.token else {"deviceToken": address.device_token}
    signed_at = number_of(challenge.payload, "ts")
    return {
        "minProtocol": _PROTOCOL,
        "maxProtocol": _PROTOCOL,
        "client": {
            "id": CLIENT_ID,
            "version": "1.0.0",
            "platform": PLATFORM,
            "mode": CLIENT_MODE,
            "displayName": "Celery Orchestrator",
        },
        "role": ROLE,
        "scopes": list(client.scopes),
        # Without it every reader is sent every run's events.
        "caps": ["session-scoped-events"],
        "auth": {name: value for name, value in auth.items() if value},
        "device": client.identity.proof(
            scopes=client.scopes,
            secret=address.token or address.device_token or "",
            nonce=text_of(challenge.payload, "nonce"),
            signed_at=int(time.time() * 1000 if signed_at is None else signed_at),
        ),
    }


def _expect_challenge(socket: WebSocket, until: float) -> Event:
    while True:
        frame = _receive(socket, until)
        if isinstance(frame, Event) and frame.name == "connect.challenge":
            return frame


def _expect_answer(socket: WebSocket, until: float) -> Response:
    while True:
        frame = _receive(socket, until)
        if isinstance(frame, Response) and frame.id == _CONNECT_ID:
            return frame


def _receive(socket: WebSocket, until: float) -> Response | Event | None:
    left = until - time.monotonic()
    if left <= 0:
        raise GatewayDownError("the gateway took too long over the handshake", retry_after=0.5)
    socket.settimeout(left)
    _, message = socket.recv_data()
    if not socket.connected:
        raise GatewayDownError("the gateway closed the connection during the handshake", retry_after=0.5)
    return parse(message)


def _hello(answer: Response, client: Client) -> Hello:
    if not answer.ok:
        raise _refusal(answer.fault or Fault(message="no reason given"))
    payload = answer.payload
    if text_of(payload, "type") != "hello-ok" or payload.get("protocol") != _PROTOCOL:
        raise GatewayRefusedError(
            f"the gateway speaks protocol {str(payload.get('protocol'))[:40]}; version {_PROTOCOL} is needed"
        )
    auth, policy, server = (mapping_of(payload, name) for name in ("auth", "policy", "server"))
    _check_scopes(strings_of(auth, "scopes"), client)
    tick = number_of(policy, "tickIntervalMs")
    uptime = number_of(mapping_of(payload, "snapshot"), "uptimeMs")
    return Hello(
        boot_id=text_of(server, "bootId"),
        tick_seconds=max(0.05, (tick or 30_000) / 1000),
        version=text_of(server, "version")[:100] or None,
        methods=frozenset(strings_of(mapping_of(payload, "features"), "methods")),
        uptime=(uptime or 0) / 1000,
        max_payload=int(number_of(policy, "maxPayload") or _MAX_PAYLOAD),
        device_token=text_of(auth, "deviceToken") or None,
    )


def _check_scopes(granted: Sequence[str], client: Client) -> None:
    missing = [scope for scope in client.scopes if scope not in granted]
    if missing:
        raise GatewayRefusedError(
            f"the gateway granted no {', '.join(missing)}: give it a token that may, or pair this installation "
            f"with it (device {client.identity.id}; see `openclaw devices list` there)"
        )


def _refusal(fault: Fault) -> GatewayDownError | GatewayRefusedError:
    said = f"{fault.message} ({fault.reason})" if fault.reason else fault.message
    if fault.retryable or (fault.code == "UNAVAILABLE" and not fault.reason):
        return GatewayDownError(f"the gateway is not ready: {said}", retry_after=fault.retry_after or 0.5)
    message = f"the gateway refuses the connection: {said}"
    if fault.reason == "PAIRING_REQUIRED":
        return NotPairedError(f"{message}; {_approval(fault)}")
    if fault.details.get("canRetryWithDeviceToken") is True:
        return TokenRefusedError(message)
    return GatewayRefusedError(message)


def _approval(fault: Fault) -> str:
    request_id = text_of(fault.details, "requestId")[:100] or "ID"
    wish = (
        "it asks for more than this installation was approved for"
        if text_of(fault.details, "reason") == "scope-upgrade"
        else "this installation is not paired with it"
    )
    return f"{wish}: approve it at the gateway with `openclaw devices approve {request_id}`"
