"""One WebSocket to a gateway, shared by any number of threads, each waiting for its own answers.

A thread of its own reads: answers come in any order, and pings are answered only while somebody reads.
"""

import itertools
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog
from websocket import WebSocket, WebSocketException, WebSocketTimeoutException

from orchestrator.drivers.openclaw_frames import (
    ConnectionLostError,
    Event,
    GivenUpError,
    Response,
    parse,
    request,
)
from orchestrator.drivers.openclaw_handshake import Address, Hello, hang_up, open_socket
from orchestrator.drivers.watch import Watch

_IO_TIMEOUT = 15.0
_REQUEST_TIMEOUT = 30.0

log = structlog.get_logger(__name__)


class Call:
    """A request that was sent and the answers to it as they come."""

    def __init__(self, id_: str) -> None:
        self.id = id_
        self._answers: queue.SimpleQueue[Response | type[Exception]] = queue.SimpleQueue()

    def put(self, answer: Response) -> None:
        self._answers.put(answer)

    def lose(self) -> None:
        self._answers.put(ConnectionLostError)

    def give_up(self) -> None:
        self._answers.put(GivenUpError)

    def next(self, deadline: float | None) -> Response:
        """The next answer. Raises TimeoutError at the deadline, ConnectionLostError, GivenUpError."""
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            answer = self._answers.get(timeout=left)
        except queue.Empty:
            raise TimeoutError("the gateway did not answer in time") from None
        if isinstance(answer, Response):
            return answer
        raise answer("the connection to the gateway ended" if answer is ConnectionLostError else "given up")


class Connection:
    """An open connection; `alive` until its socket ends, or `idle` seconds passed without a call."""

    def __init__(self, socket: WebSocket, hello: Hello, watch: Watch, *, idle: float) -> None:
        self.boot_id = hello.boot_id
        self.alive = True
        self._socket = socket
        self._watch = watch
        self._idle = idle
        self._silence = 2 * hello.tick_seconds
        self._lock = threading.Lock()
        self._calls: dict[str, Call] = {}
        self._ids = itertools.count(1)
        self._used_at = self._heard_at = time.monotonic()
        socket.settimeout(min(_IO_TIMEOUT, self._silence, idle))
        threading.Thread(target=self._read, name="gateway", daemon=True).start()

    @classmethod
    def open(cls, address: Address, watch: Watch, *, idle: float, timeout: float) -> "Connection":
        """Raises GatewayDownError and GatewayRefusedError."""
        return cls(*open_socket(address, timeout), watch, idle=idle)

    @property
    def load(self) -> int:
        """How many calls wait for answers."""
        return len(self._calls)

    @contextmanager
    def call(self, method: str, params: Mapping[str, Any], cancelled: threading.Event) -> Iterator[Call]:
        """Send a request and hold it open for any number of answers. Raises ConnectionLostError."""
        call = Call(str(next(self._ids)))
        with self._lock:
            if not self.alive:
                raise ConnectionLostError("the connection to the gateway ended")
            self._calls[call.id] = call
            self._used_at = time.monotonic()
        try:
            self._send(request(call.id, method, params))
            with self._watch.over(cancelled, None, call.give_up):
                yield call
        finally:
            with self._lock:
                self._calls.pop(call.id, None)
                self._used_at = time.monotonic()

    def request(
        self,
        method: str,
        params: Mapping[str, Any],
        cancelled: threading.Event,
        *,
        timeout: float = _REQUEST_TIMEOUT,
    ) -> Response:
        """Send a request that has one answer, and wait for it. Raises as Call.next."""
        with self.call(method, params, cancelled) as call:
            return call.next(time.monotonic() + timeout)

    def close(self) -> None:
        """End it; every waiting call is lost."""
        with self._lock:
            self.alive = False
            calls, self._calls = list(self._calls.values()), {}
        for call in calls:
            call.lose()
        self._socket.abort()  # type: ignore[no-untyped-call]

    def _send(self, text: str) -> None:
        try:
            self._socket.send(text)
        except (WebSocketException, OSError) as error:
            self.close()
            raise ConnectionLostError(f"the connection to the gateway ended: {error}") from error

    def _read(self) -> None:
        try:
            while self.alive and self._read_one():
                pass
        except (WebSocketException, OSError, ValueError) as error:
            log.info("gateway connection lost", reason=str(error))
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
        elif isinstance(frame, Event) and frame.name == "shutdown":
            log.info("gateway shuts down", reason=str(frame.payload.get("reason")))
        return True

    def _deliver(self, answer: Response) -> None:
        with self._lock:
            call = self._calls.get(answer.id)
        if call is not None:  # else its caller has gone: late, or answered twice
            call.put(answer)

    def _is_stale(self) -> bool:
        now = time.monotonic()
        if now - self._heard_at > self._silence:
            log.warning("gateway connection silent", seconds=round(now - self._heard_at, 1))
            return True
        with self._lock:
            if not self._calls and now - self._used_at >= self._idle:
                self.alive = False
        return not self.alive
