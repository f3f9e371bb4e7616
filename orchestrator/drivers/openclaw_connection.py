"""One WebSocket to a gateway, shared by any number of calls, each with answers of its own.

A thread of its own reads: answers come in any order, and pings are answered only while somebody reads.
"""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog
from websocket import WebSocket, WebSocketException, WebSocketTimeoutException

from models.errors import InvalidError
from orchestrator.drivers.openclaw_call import Call
from orchestrator.drivers.openclaw_frames import (
    ConnectionLostError,
    Event,
    Response,
    parse,
    request,
    text_of,
)
from orchestrator.drivers.openclaw_handshake import Address, Client, Hello, hang_up, open_socket
from orchestrator.drivers.watch import Watch

_IO_TIMEOUT = 15.0
_TIDY_EVERY = 5.0

log = structlog.get_logger(__name__)

Take = Callable[[Mapping[str, Any]], None]


class Connection:
    """An open connection; `alive` until its socket ends, or `idle` seconds passed without a call."""

    def __init__(self, socket: WebSocket, hello: Hello, watch: Watch, *, idle: float) -> None:
        self.hello = hello
        self.alive = True
        self._socket = socket
        self._watch = watch
        self._idle = idle
        self._silence = 2 * hello.tick_seconds
        self._lock = threading.Lock()
        self._calls: dict[str, Call] = {}
        self._listeners: dict[str, Take] = {}
        self._sessions: Counter[str] = Counter()
        self._ids = itertools.count(1)
        self._opened_at = self._used_at = self._heard_at = self._tidied_at = time.monotonic()
        socket.settimeout(min(_IO_TIMEOUT, self._silence, idle))
        threading.Thread(target=self._read, name="gateway", daemon=True).start()

    @classmethod
    def open(
        cls, address: Address, client: Client, watch: Watch, *, idle: float, timeout: float
    ) -> "Connection":
        """Raises GatewayDownError and GatewayRefusedError."""
        return cls(*open_socket(address, client, timeout), watch, idle=idle)

    @property
    def boot_id(self) -> str:
        return self.hello.boot_id

    @property
    def uptime(self) -> float:
        """Seconds that the gateway has run for, at least."""
        return self.hello.uptime + time.monotonic() - self._opened_at

    @property
    def load(self) -> int:
        """How many calls wait for answers."""
        return len(self._calls)

    @contextmanager
    def call(
        self, method: str, params: Mapping[str, Any], cancelled: threading.Event | None
    ) -> Iterator[Call]:
        """Send a request and hold it open for any number of answers; one that is parked stays open after.

        Raises ConnectionLostError, and InvalidError for a request that is longer than the gateway takes.
        """
        call = Call(str(next(self._ids)))
        text = self._text(call.id, method, params)
        with self._lock:
            if not self.alive:
                raise ConnectionLostError("the connection to the gateway ended")
            self._calls[call.id] = call
            self._used_at = time.monotonic()
        try:
            self._send(text)
            if cancelled is None:
                yield call
            else:
                with self._watch.over(cancelled, None, call.give_up):
                    yield call
        finally:
            if not call.parked:
                self._drop(call)

    def tell(self, method: str, params: Mapping[str, Any]) -> None:
        """Send a request whose answer nobody waits for. A lost socket is fine."""
        try:
            self._send(self._text(str(next(self._ids)), method, params))
        except ConnectionLostError:
            pass  # it would have been about this socket, or about work that ends by its own time limit

    def listen(self, session_key: str, heard: str, take: Take) -> None:
        """Have `take` called with the events of a run, by the thread that reads; it must not block.

        heard: the run's id, or the session's key for all that happens in it.
        """
        with self._lock:
            self._listeners[heard] = take
            self._sessions[session_key] += 1
        self.tell("sessions.messages.subscribe", {"key": session_key})

    def unlisten(self, session_key: str, heard: str) -> None:
        """End `listen`; twice is fine."""
        with self._lock:
            if self._listeners.pop(heard, None) is None:
                return
            self._sessions[session_key] -= 1
            last = self._sessions[session_key] <= 0
            if last:
                del self._sessions[session_key]
        if last and self.alive:
            self.tell("sessions.messages.unsubscribe", {"key": session_key})

    def close(self) -> None:
        """End it; every waiting call is lost."""
        with self._lock:
            self.alive = False
            calls, self._calls = list(self._calls.values()), {}
            self._listeners.clear()
        for call in calls:
            call.lose()
        self._socket.abort()  # type: ignore[no-untyped-call]

    def retire(self) -> None:
        """End it as soon as no call waits."""
        self._idle = 0.0
        if not self._calls:
            self.close()

    def _text(self, id_: str, method: str, params: Mapping[str, Any]) -> str:
        text = request(id_, method, params)
        if len(text) > self.hello.max_payload:
            raise InvalidError(
                f"the request is {len(text)} bytes long, and the gateway takes {self.hello.max_payload}: "
                "give the agent less input"
            )
        return text

    def _drop(self, call: Call) -> None:
        with self._lock:
            self._calls.pop(call.id, None)
            self._used_at = time.monotonic()
            last = not self._calls
        if last and self._idle == 0.0:
            self.close()

    def _send(self, text: str) -> None:
        try:
            self._socket.send(text)
        except (WebSocketException, OSError) as error:
            self.close()
            raise ConnectionLostError(f"the connection to the gateway ended: {error}") from error

    def _read(self) -> None:
        try:
            while self.alive and self._read_one():
                self._tidy()
        except Exception as error:  # whatever a peer sends, it ends its own connection alone
            if self.alive:  # else we closed it
                log.info("gateway connection lost", reason=f"{type(error).__name__}: {error}")
        finally:
            self.close()
            hang_up(self._socket)

    def _read_one(self) -> bool:
        try:
            _, message = self._socket.recv_data()
        except WebSocketTimeoutException:
            return not self._is_stale()
        self._heard_at = time.monotonic()
        if not self._socket.connected:
            return False
        frame = parse(message)
        if isinstance(frame, Response):
            self._deliver(frame)
        elif isinstance(frame, Event):
            self._hear(frame)
        return True

    def _deliver(self, answer: Response) -> None:
        with self._lock:
            call = self._calls.get(answer.id)
        # Where there is none its caller has gone: late, answered twice, or nobody waits.
        if call is not None and call.put(answer):
            self._drop(call)

    def _hear(self, event: Event) -> None:
        if event.name == "shutdown":
            log.info("gateway shuts down", reason=str(event.payload.get("reason"))[:200])
        if event.name != "agent":
            return
        run_id, session_key = text_of(event.payload, "runId"), text_of(event.payload, "sessionKey")
        with self._lock:
            take = self._listeners.get(run_id) or self._listeners.get(session_key)
        if take is not None:
            take(event.payload)

    def _tidy(self) -> None:
        now = time.monotonic()
        if now - self._tidied_at < _TIDY_EVERY:
            return
        self._tidied_at = now
        with self._lock:
            over = [call for call in self._calls.values() if call.is_over(now)]
        for call in over:
            call.lose()
            self._drop(call)

    def _is_stale(self) -> bool:
        now = time.monotonic()
        if now - self._heard_at > self._silence:
            log.warning("gateway connection silent", seconds=round(now - self._heard_at, 1))
            return True
        with self._lock:
            if not self._calls and now - self._used_at >= self._idle:
                self.alive = False
        return not self.alive
