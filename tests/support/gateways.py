"""Fixtures: local gateways of our own, in a thread of the test or as a process; and peers that say what they like."""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import pytest
from websocket import WebSocket, WebSocketConnectionClosedException, create_connection
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from orchestrator.drivers.openclaw_handshake import Address
from orchestrator.gateway.database import open_database
from orchestrator.gateway.files import Files
from orchestrator.gateway.ledger import Ledger
from orchestrator.gateway.options import Options
from orchestrator.gateway.server import Server, listen
from orchestrator.gateway.sessions import Sessions
from tests.support.devices import Device
from tests.support.polling import poll

TOKEN = "the token of this test"
SCOPES = ["operator.read", "operator.write"]

T = TypeVar("T")


class LocalGateway:
    """The real server on a thread. Its port and database stay over a restart, its memory and boot id don't.

    The directive `crash` kills it and starts it again.
    """

    def __init__(self, **options: Any) -> None:
        self._database = open_database()
        usual = {"token": TOKEN, "most": 64, "resume_after": 0.1, "create_delay": 0.1, "die": self._die}
        self._options = Options(**usual | options)
        self._port = 0
        self._loop = asyncio.new_event_loop()
        self._dying: set[asyncio.Task[None]] = set()
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
        self.on_loop(self._start())

    def stop(self, grace: float = 5.0) -> None:
        """As on SIGTERM."""
        self.on_loop(self.server.stop(grace))

    def restart(self, grace: float = 5.0) -> None:
        """SIGTERM, then a new boot with another boot id."""
        self.stop(grace)
        self.start()

    def kill(self) -> None:
        """As on kill -9: sockets end without a word, runs stay open in the ledger."""
        self.on_loop(self.server.kill())

    def crash(self) -> None:
        """kill -9, then a new boot, which takes up by itself the turns that ran."""
        self.on_loop(self._crash())

    def runs(self, session_key: str | None = None) -> list[dict[str, Any]]:
        """Rows of the ledger, the newest first."""
        return self.on_loop(self._on(lambda: Ledger(self._database).tasks(session_key, (), 10_000)))

    def history(self, session_key: str) -> list[dict[str, Any]]:
        """The transcript of a session, the oldest message first."""
        return self.on_loop(self._on(lambda: Sessions(self._database).history(session_key, 1000)))

    def file(self, agent: str, name: str) -> str | None:
        """A workspace file of an agent."""
        return self.on_loop(self._on(lambda: Files(self._database).content(agent, name)))

    def on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def close(self) -> None:
        """End it, once its clients have gone."""
        poll(lambda: not self.server.connections, 5, "the clients' end")
        self.stop(0.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._database.close()

    async def _start(self) -> None:
        server = Server(self._database, self._options)
        listener = listen(self._port)
        self._port = listener.getsockname()[1]
        await server.start(listener)
        self.server = server

    async def _crash(self) -> None:
        await self.server.kill()
        await self._start()

    def _die(self) -> None:
        self._dying.add(self._loop.create_task(self._crash()))

    async def _on(self, read: Callable[[], T]) -> T:
        return read()


class RawClient:
    """A client that says what the test wants said."""

    def __init__(self, address: Address, **options: Any) -> None:
        self.address = address
        self.socket: WebSocket = create_connection(
            address.url, timeout=5, **{"suppress_origin": True, "skip_utf8_validation": True} | options
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

    def connect(
        self,
        token: str | None = TOKEN,
        device: Device | None = None,
        forge: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> dict[str, Any]:
        """The answer to a connect request, whatever it is. `forge` changes what the device signed."""
        challenge = self.receive()
        assert challenge["event"] == "connect.challenge"
        params = connect_params(token, **changes)
        if device is not None:
            params["device"] = device.identity(params, challenge["payload"]) | (forge or {})
        return self.ask("connect", params)

    def run(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The last answer to an `agent` request, which was accepted."""
        id_ = self.request("agent", params)
        accepted = self.response(id_)
        assert accepted["payload"]["status"] == "accepted", accepted
        return self.response(id_)

    def is_cut(self) -> bool:
        """Read to the end of the connection: whether it came without a close."""
        try:
            while self.receive()["type"] != "close":
                pass
        except (WebSocketConnectionClosedException, ConnectionResetError):
            return True
        return False

    def close(self) -> None:
        self.socket.shutdown()


def state_of(row: Mapping[str, Any]) -> str:
    """Of a row of the ledger: its status, where it ended, else "queued" or "running"."""
    state = row["execution"]["state"]
    return str(row["status"] if state == "finished" else state)


def run_params(name: str, message: str = "hello", **more: Any) -> dict[str, Any]:
    """Parameters of `agent` for the agent echo; the run's id is run:<name>:1."""
    return {
        "message": message,
        "agentId": "echo",
        "sessionKey": f"agent:echo:{name}",
        "idempotencyKey": f"run:{name}:1",
        "timeout": 30,
    } | more


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
    """`gateways(most=…, tick=…) -> LocalGateway`, closed after the test; options as those of the gateway."""
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
def raw_client(local_gateway: LocalGateway, raw: Callable[..., RawClient]) -> RawClient:
    """A client of `local_gateway` that came in to read and write."""
    client = raw(local_gateway.address)
    assert client.connect()["ok"]
    return client


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
