"""One client's socket: the handshake, then requests in and frames out. Source: spec "gateway" §2 and §3."""

import asyncio
import json
import uuid
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from orchestrator.gateway.database import now_ms
from orchestrator.gateway.login import Login
from orchestrator.gateway.refusal import RefusalError, invalid

_BEFORE_HELLO = 64 << 10
_BACKLOG = 10_000
_LAST_WORDS = 0.2


class House(Protocol):
    """What a peer needs of its server."""

    connect_timeout: float

    def log_in(self, params: Any, *, nonce: str, origin: str | None) -> Login: ...

    def hello(self, login: Login) -> dict[str, Any]: ...

    async def answer(self, peer: "Peer", id_: str, method: str, params: Any) -> None: ...


class _BadFrameError(Exception):
    """No request. Before hello it ends the socket: `code` and reason of the close. `id_`: what it is answered by."""

    def __init__(self, code: int, reason: str, id_: str | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.id_ = id_


class Peer:
    """A connection. `login` is None until hello; `sessions` are those whose events it asked for."""

    def __init__(self, socket: ServerConnection, house: House) -> None:
        self.login: Login | None = None
        self.sessions: set[str] = set()
        self._socket = socket
        self._house = house
        self._out: asyncio.Queue[str | bytes] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._seq = 0

    async def serve(self) -> None:
        """Talk until the socket ends."""
        writer = asyncio.create_task(self._write())
        try:
            await self._greet()
            async for message in self._socket:
                self._take(message)
        except _BadFrameError as error:
            await self._flush()
            await self._socket.close(error.code, str(error))
        except ConnectionClosed:
            pass  # the usual end
        finally:
            for task in (writer, *self._tasks):
                task.cancel()

    def hears(self, event: str, session_key: str) -> bool:
        """Whether it is told of an event of a session."""
        if self.login is None or not self.login.may("operator.read"):
            return False
        scoped = "session-scoped-events" in self.login.caps
        return not scoped or event == "task" or session_key in self.sessions

    def event(self, name: str, payload: str) -> None:
        """Send an event, numbered for this connection. `payload` is JSON, made once for all who hear it."""
        self._seq += 1
        self._queue(f'{{"type": "event", "event": "{name}", "payload": {payload}, "seq": {self._seq}}}')

    def respond(
        self, id_: str, payload: Mapping[str, Any], *, ok: bool = True, error: Mapping[str, Any] | None = None
    ) -> None:
        """Send a response; there may be more than one for a request."""
        frame = {"type": "res", "id": id_, "ok": ok, "payload": payload}
        self._send(frame if error is None else frame | {"error": error})

    def refuse(self, id_: str, error: RefusalError) -> None:
        self._send({"type": "res", "id": id_, "ok": False, "error": error.to_json()})

    def raw(self, message: str | bytes) -> None:
        """Send what is no frame."""
        self._out.put_nowait(message)

    def cut(self) -> None:
        """End the connection without a word."""
        self._socket.transport.abort()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on with a request while others come in."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def leave(self, code: int, reason: str) -> None:
        """Let answers that are due go out, say why it ends, close."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LAST_WORDS)
        self.event("shutdown", json.dumps({"reason": reason}))
        await self._flush()
        await self._socket.close(code, reason)

    async def _greet(self) -> None:
        nonce = str(uuid.uuid4())
        payload = {"nonce": nonce, "ts": now_ms(), "capabilities": []}
        self._send({"type": "event", "event": "connect.challenge", "payload": payload})
        try:
            async with asyncio.timeout(self._house.connect_timeout):
                message = await self._socket.recv()
        except TimeoutError:
            raise _BadFrameError(1000, "connect timeout") from None
        if len(message) > _BEFORE_HELLO:
            raise _BadFrameError(1009, "frame too large before connect")
        id_, method, params = _request(message)
        if method != "connect":
            refusal = invalid("invalid handshake: first request must be connect")
            self.refuse(id_, refusal)
            raise _BadFrameError(1008, str(refusal))
        self._log_in(id_, params, nonce)

    def _log_in(self, id_: str, params: Any, nonce: str) -> None:
        headers = self._socket.request.headers if self._socket.request else {}
        try:
            self.login = self._house.log_in(params, nonce=nonce, origin=headers.get("Origin"))
        except RefusalError as error:
            self.refuse(id_, error)
            raise _BadFrameError(error.close or 1008, str(error)) from error
        self.respond(id_, self._house.hello(self.login))

    def _take(self, message: str | bytes) -> None:
        try:
            id_, method, params = _request(message)
        except _BadFrameError as error:
            if error.id_ is not None:
                self.refuse(error.id_, invalid(f"{error}: a request has the type req, an id and a method"))
            return
        self.spawn(self._house.answer(self, id_, method, params))

    def _send(self, frame: Mapping[str, Any]) -> None:
        self._queue(json.dumps(frame))

    def _queue(self, message: str) -> None:
        if self._out.qsize() < _BACKLOG:
            self._out.put_nowait(message)
        else:
            self.cut()

    async def _write(self) -> None:
        while True:
            message = await self._out.get()
            try:
                await self._socket.send(message)
            except ConnectionClosed:
                pass  # the reader ends us; until then the queue must not fill
            finally:
                self._out.task_done()

    async def _flush(self) -> None:
        try:
            async with asyncio.timeout(1.0):
                await self._out.join()
        except TimeoutError:
            pass  # a peer that does not read any more


def _request(message: str | bytes) -> tuple[str, str, Any]:
    try:
        frame = json.loads(message)
    except (ValueError, RecursionError):
        raise _BadFrameError(1000, "no JSON") from None
    if (
        not isinstance(frame, dict)
        or frame.get("type") != "req"
        or not isinstance(frame.get("id"), str)
        or not isinstance(frame.get("method"), str)
    ):
        id_ = frame.get("id") if isinstance(frame, dict) else None
        raise _BadFrameError(1008, "invalid request frame", id_ if isinstance(id_, str) else None)
    return frame["id"], frame["method"], frame.get("params", {})
