"""A WebSocket to a gateway's address, which was resolved once and checked.

Source: spec "gateway" §2 and §3; spec "reliability" §4. Gateways may be on loopback and private networks; a
machine's own metadata services and link-local neighbours are refused, unless HTTP_ALLOW names them.
"""

import os
import socket
import ssl
import time
from typing import Any
from urllib.parse import urlsplit

import certifi
from websocket import (
    WebSocket,
    WebSocketBadStatusException,
    WebSocketException,
    WebSocketPayloadException,
    create_connection,
)

from models.errors import OrchestratorError
from orchestrator.drivers.addresses import DeniedError, Guard
from orchestrator.drivers.dial import Dial, LateError, UnreachableError
from orchestrator.drivers.openclaw_frames import GatewayDownError, GatewayRefusedError

_DOWN_STATUS = (429, 500, 502, 503, 504)
_PORTS = {"ws": 80, "wss": 443}
_LONGEST = 64 << 20


class _BoundedSocket(WebSocket):
    """Takes no message that is longer than a gateway's longest answer; the library takes any."""

    _taken = 0

    def recv_data_frame(self, control_frame: bool = False) -> tuple[Any, Any]:
        found: tuple[Any, Any] = super().recv_data_frame(control_frame)
        self._taken = 0
        return found

    def _recv(self, bufsize: int) -> bytes:
        data: bytes = super()._recv(bufsize)  # type: ignore[no-untyped-call]
        self._taken += len(data)
        if self._taken > _LONGEST:
            raise WebSocketPayloadException(f"a message is longer than {_LONGEST} bytes")
        return data


def dial(url: str, guard: Guard, timeout: float) -> WebSocket:
    """An upgraded connection. Raises GatewayDownError, GatewayRefusedError."""
    scheme, host, port = _parts(url)
    way = Dial(guard, time.monotonic() + timeout)
    try:
        return _upgrade(url, _secured(way.connect(host, port), scheme, host), timeout)
    except WebSocketBadStatusException as error:
        raise _bad_status(url, error) from error
    except DeniedError as error:
        raise GatewayRefusedError(str(error)) from error
    except (WebSocketException, OSError, ValueError, UnreachableError, LateError) as error:
        raise GatewayDownError(f"no gateway answers at {url}: {error}", retry_after=0.1) from error
    finally:
        way.hang_up()


def _parts(url: str) -> tuple[str, str, int]:
    try:
        found = urlsplit(url)
        port = found.port
    except ValueError as error:
        raise GatewayRefusedError(f"the gateway's address {url!r} is no ws:// URL: {error}") from error
    if found.scheme not in _PORTS or not found.hostname:
        raise GatewayRefusedError(
            f"the gateway's address {url!r} is no ws:// URL: write ws://host:port, or wss:// for TLS"
        )
    return found.scheme, found.hostname, port or _PORTS[found.scheme]


def _secured(plain: socket.socket, scheme: str, host: str) -> socket.socket:
    if scheme == "ws":
        return plain
    authorities = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
    context = ssl.create_default_context(cafile=authorities or certifi.where())
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _upgrade(url: str, line: socket.socket, timeout: float) -> WebSocket:
    try:
        # A foreign Origin is refused by gateways, and websocket-client sends one unless told not to.
        return create_connection(
            url,
            class_=_BoundedSocket,
            timeout=timeout,
            socket=line,
            suppress_origin=True,
            enable_multithread=True,
            skip_utf8_validation=True,  # a second a megabyte in plain Python; our parser validates
        )
    except BaseException:
        line.close()
        raise


def _bad_status(url: str, error: WebSocketBadStatusException) -> OrchestratorError:
    message = f"the gateway at {url} answered HTTP {error.status_code} instead of a WebSocket"
    if error.status_code in _DOWN_STATUS:
        return GatewayDownError(message, retry_after=0.5)
    return GatewayRefusedError(message + "; check its address and the proxy before it")
