"""Opening a connection: challenge, connect, hello-ok, and the checks that the protocol leaves to the client.

Source: spec "gateway" §3.
"""

import time
from dataclasses import dataclass, field

from websocket import (
    WebSocket,
    WebSocketBadStatusException,
    WebSocketException,
    create_connection,
)

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
    text_of,
)

_PROTOCOL = 4
_SCOPES = ("operator.read", "operator.write")
_DOWN_STATUS = (429, 500, 502, 503, 504)
_CONNECT_ID = "connect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a gateway listens (ws:// or wss://) and the shared token that it asks for."""

    url: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a gateway says of itself. A new `boot_id` means that its memory of runs is gone."""

    boot_id: str
    tick_seconds: float


def open_socket(address: Address, timeout: float) -> tuple[WebSocket, Hello]:
    """A socket that has said hello, within `timeout` seconds.

    Raises GatewayDownError (refused, starting, draining, silent) and GatewayRefusedError (token, protocol,
    scopes, pairing).
    """
    until = time.monotonic() + timeout
    socket = _dial(address, timeout)
    try:
        _expect_challenge(socket, until)
        socket.send(request(_CONNECT_ID, "connect", _params(address)))
        return socket, _hello(_expect_answer(socket, until))
    except (WebSocketException, OSError) as error:
        hang_up(socket)
        raise GatewayDownError(
            f"the gateway at {address.url} ended the handshake: {error}", retry_after=0.5
        ) from error
    except BaseException:
        hang_up(socket)
        raise


def hang_up(socket: WebSocket) -> None:
    """Close the descriptor, without a word to the other side."""
    socket.shutdown()  # type: ignore[no-untyped-call]


def _dial(address: Address, timeout: float) -> WebSocket:
    try:
        # A foreign Origin is refused by gateways, and websocket-client sends one unless told not to.
        return create_connection(
            address.url,
            timeout=timeout,
            suppress_origin=True,
            enable_multithread=True,
            skip_utf8_validation=True,  # a second a megabyte in plain Python; our parser validates
        )
    except WebSocketBadStatusException as error:
        message = f"the gateway at {address.url} answered HTTP {error.status_code} instead of a WebSocket"
        if error.status_code in _DOWN_STATUS:
            raise GatewayDownError(message, retry_after=0.5) from error
        raise GatewayRefusedError(message + "; check its address and the proxy before it") from error
    except ValueError as error:
        raise GatewayRefusedError(
            f"the gateway's address {address.url!r} is no ws:// URL: {error}"
        ) from error
    except (WebSocketException, OSError) as error:
        raise GatewayDownError(f"no gateway answers at {address.url}: {error}", retry_after=0.1) from error


def _params(address: Address) -> dict[str, object]:
    return {
        "minProtocol": _PROTOCOL,
        "maxProtocol": _PROTOCOL,
        "client": {
            "id": "gateway-client",
            "version": "1.0.0",
            "platform": "linux",
            "mode": "backend",
            "displayName": "Celery Orchestrator",
        },
        "role": "operator",
        "scopes": list(_SCOPES),
        # Without it every reader is sent every run's events.
        "caps": ["session-scoped-events"],
        "auth": {"token": address.token},
    }


def _expect_challenge(socket: WebSocket, until: float) -> None:
    while True:
        frame = _receive(socket, until)
        if isinstance(frame, Event) and frame.name == "connect.challenge":
            return


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


def _hello(answer: Response) -> Hello:
    if not answer.ok:
        raise _refusal(answer.fault or Fault(message="no reason given"))
    payload = answer.payload
    if text_of(payload, "type") != "hello-ok" or payload.get("protocol") != _PROTOCOL:
        raise GatewayRefusedError(
            f"the gateway speaks protocol {payload.get('protocol')!r}; version {_PROTOCOL} is needed"
        )
    granted = mapping_of(payload, "auth").get("scopes")
    missing = [scope for scope in _SCOPES if not isinstance(granted, list) or scope not in granted]
    if missing:
        raise GatewayRefusedError(
            f"the gateway granted no {', '.join(missing)}: it keeps the scopes of a shared token on loopback "
            "only, else this client must be paired"
        )
    tick = number_of(mapping_of(payload, "policy"), "tickIntervalMs")
    return Hello(
        boot_id=text_of(mapping_of(payload, "server"), "bootId"),
        tick_seconds=max(0.05, (tick or 30_000) / 1000),
    )


def _refusal(fault: Fault) -> GatewayDownError | GatewayRefusedError:
    said = f"{fault.message} ({fault.reason})" if fault.reason else fault.message
    if fault.retryable or (fault.code == "UNAVAILABLE" and not fault.reason):
        return GatewayDownError(f"the gateway is not ready: {said}", retry_after=fault.retry_after or 0.5)
    return GatewayRefusedError(f"the gateway refuses the connection: {said}")
