"""Fixtures: local gateways of our own, in a thread of the test or as a process; and peers that say what they like."""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import pytest
from websocket import WebSocket, create_connection
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from orchestrator.drivers.openclaw_handshake import Address
from orchestrator.gateway.ledger import Ledger
from orchestrator.gateway.server import Options, Server, listen
from tests.support.polling import poll

TOKEN = "the token of this test"
SCOPES = ["operator.read", "operator.write"]

T = TypeVar("T")


class LocalGateway:
    """The real server on a thread. Its port and ledger stay over a restart, its memory and boot id don't."""

    def __init__(self, **options: Any) -> None:
        self.ledger = Ledger()
        self._options = Options(**{"token": TOKEN, "most": 64, "resume_after": 0.1} | options)
        self._port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.start()

    @property
    def address(self) -> Address:
        return Address(url=f"ws://127.0.0.1:{self._port}", token=TOKEN)

    @property
    def port(self) -> int:
        return self._port

    def start(self) -> None:
        """A new boot."""
        self.server = self.on_loop(self._start())

    def stop(self, grace: float = 5.0) -> None:
        """As on SIGTERM."""
        self.on_loop(self.server.stop(grace))

    def runs(self, session_key: str | None = None) -> list[dict[str, Any]]:
        """Rows of the ledger, the newest first."""
        return self.on_loop(self._rows(session_key))

    def on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def close(self) -> None:
        """End it, once its clients have gone."""
        poll(lambda: not self.server.connections, 5, "the clients' end")
        self.stop(0.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.ledger.close()

    async def _start(self) -> Server:
        server = Server(self.ledger, self._options)
        listener = listen(self._port)
        self._port = listener.getsockname()[1]
        await server.start(listener)
        return server

    async def _rows(self, session_key: str | None) -> list[dict[str, Any]]:
        return self.ledger.tasks(session_key, None, 1000)


class RawClient:
    """A client that says what the test wants said."""

    def __init__(self, address: Address, **options: Any) -> None:
        self.address = address
        self.socket: WebSocket = create_connection(
            address.url, timeout=5, **{"suppress_origin": True} | options
        )
        self._ids = iter(range(1, 10_000))
        self.events: list[dict[str, Any]] = []
        self._early: list[dict[str, Any]] = []

    def send(self, frame: Any) -> None:
        self.socket.send(frame if isinstance(frame, str) else json.dumps(frame))

    def receive(self) -> dict[str, Any]:
        """The next frame. A close is {"type": "close", "code", "reason"}."""
        opcode, data = self.socket.recv_data(control_frame=True)
        while opcode in (0x9, 0xA):
            opcode, data = self.socket.recv_data(control_frame=True)
        if opcode == 0x8:
            return {
                "type": "close",
                "code": int.from_bytes(data[:2], "big"),
                "reason": data[2:].decode(),
            }
        return dict(json.loads(data))

    def request(self, method: str, params: Any) -> str:
        id_ = str(next(self._ids))
        self.send({"type": "req", "id": id_, "method": method, "params": params})
        return id_

    def response(self, id_: str) -> dict[str, Any]:
        """The next response to a request; what else comes on the way is kept."""
        while True:
            for frame in self._early:
                if frame["id"] == id_:
                    self._early.remove(frame)
                    return frame
            frame = self.receive()
            assert frame["type"] in ("event", "res"), frame
            (self.events if frame["type"] == "event" else self._early).append(frame)

    def ask(self, method: str, params: Any) -> dict[str, Any]:
        return self.response(self.request(method, params))

    def connect(self, token: str | None = TOKEN, **changes: Any) -> dict[str, Any]:
        """The answer to a connect request, whatever it is."""
        assert self.receive()["event"] == "connect.challenge"
        return self.ask("connect", connect_params(token, **changes))

    def close(self) -> None:
        self.socket.shutdown()


def connect_params(token: str | None = TOKEN, **changes: Any) -> dict[str, Any]:
    return {
        "minProtocol": 4,
        "maxProtocol": 4,
        "client": {"id": "gateway-client", "version": "1", "platform": "linux", "mode": "backend"},
        "role": "operator",
        "scopes": SCOPES,
        "caps": [],
        "auth": {} if token is None else {"token": token},
    } | changes


def hello_ok(tick_ms: int = 30_000) -> dict[str, Any]:
    return {
        "type": "hello-ok",
        "protocol": 4,
        "server": {"bootId": "boot"},
        "auth": {"scopes": SCOPES},
        "policy": {"tickIntervalMs": tick_ms},
    }


Talk = Callable[[ServerConnection, dict[str, Any]], None]


class OddPeer:
    """A WebSocket server that greets well and then lets the test talk: `talk(socket, request)` per request."""

    def __init__(self, talk: Talk, *, hello: Any = None, tick_ms: int = 30_000, **options: Any) -> None:
        self._talk = talk
        self._hello = hello_ok(tick_ms) if hello is None else hello
        self.connections = 0
        self._server = serve(self._serve, "127.0.0.1", 0, compression=None, **options)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> Address:
        return Address(url=f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}", token=TOKEN)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()

    def _serve(self, socket: ServerConnection) -> None:
        self.connections += 1
        with suppress(ConnectionClosed):
            socket.send(json.dumps({"type": "event", "event": "connect.challenge", "payload": {}}))
            request = json.loads(socket.recv())
            answer(socket, request, self._hello)
            for message in socket:
                self._talk(socket, json.loads(message))


def answer(socket: ServerConnection, request: dict[str, Any], payload: Any) -> None:
    socket.send(json.dumps({"type": "res", "id": request["id"], "ok": True, "payload": payload}))


@pytest.fixture
def gateways() -> Iterator[Callable[..., LocalGateway]]:
    """`gateways(most=…, tick=…) -> LocalGateway`, closed after the test."""
    opened: list[LocalGateway] = []

    def open_(**options: Any) -> LocalGateway:
        opened.append(LocalGateway(**options))
        return opened[-1]

    yield open_
    for gateway in opened:
        gateway.close()


@pytest.fixture
def local_gateway(gateways: Callable[..., LocalGateway]) -> LocalGateway:
    """A gateway that this test may stop and start again."""
    return gateways()


@pytest.fixture
def raw(gateways: Callable[..., LocalGateway]) -> Iterator[Callable[..., RawClient]]:
    """`raw(address) -> RawClient`, closed after the test and before its gateways."""
    opened: list[RawClient] = []

    def open_(address: Address, **options: Any) -> RawClient:
        opened.append(RawClient(address, **options))
        return opened[-1]

    yield open_
    for client in opened:
        client.close()


@pytest.fixture
def odd_peer() -> Iterator[Callable[..., OddPeer]]:
    """`odd_peer(talk) -> OddPeer`, closed after the test."""
    opened: list[OddPeer] = []

    def open_(talk: Talk, **options: Any) -> OddPeer:
        opened.append(OddPeer(talk, **options))
        return opened[-1]

    yield open_
    for peer in opened:
        peer.close()
