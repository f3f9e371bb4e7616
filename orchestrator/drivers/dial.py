"""Connections to a name that was resolved once and checked; cut when late or given up."""

import queue
import socket
import threading
import time
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from models.errors import OrchestratorError
from orchestrator.drivers.addresses import Guard

_CONNECT_TIMEOUT = 10.0

_Found = list[tuple[int, str, tuple[Any, ...]]]


class UnreachableError(OrchestratorError):
    """The name does not resolve, or none of its addresses takes a connection."""

    code = "NETWORK"


class LateError(OrchestratorError):
    """The deadline passed, or the request was given up."""

    code = "TIMEOUT"


class Dial:
    """One request's way to its socket. `cut` ends it from another thread, whatever it waits for."""

    def __init__(self, guard: Guard, deadline: float) -> None:
        self._guard = guard
        self._deadline = deadline
        self._line: socket.socket | None = None
        self._lock = threading.Lock()
        self.was_cut = False
        self.connected = False

    def remaining(self) -> float:
        """Seconds left. Raises LateError when there are none or the request was cut."""
        left = self._deadline - time.monotonic()
        if left <= 0 or self.was_cut:
            raise LateError("the deadline has passed")
        return left

    def connect(self, host: str, port: int) -> socket.socket:
        """A socket to a checked address of `host`. Raises DeniedError, UnreachableError, LateError."""
        found = self.check(host, port)
        failure: OSError | None = None
        for family, _, address in found:
            try:
                return self._open(family, address)
            except OSError as error:
                failure = error
        self.remaining()
        raise UnreachableError(f"{host}:{port} takes no connection: {failure}") from failure

    def check(self, host: str, port: int) -> _Found:
        """What a name leads to, all of it allowed. Raises DeniedError, UnreachableError, LateError."""
        found = self._resolve(host, port)
        self._guard.check(host, port, [str(address[0]) for _, _, address in found])
        return found

    def cut(self) -> None:
        """Shut the connection down; what reads or writes on it fails at once."""
        with self._lock:
            self.was_cut = True
            if self._line is not None:
                _shutdown(self._line)

    def hang_up(self) -> None:
        """Free what was kept for `cut`."""
        with self._lock:
            if self._line is not None:
                self._line.close()
                self._line = None

    def _open(self, family: int, address: tuple[Any, ...]) -> socket.socket:
        opened = socket.socket(family, socket.SOCK_STREAM)
        try:
            # TLS takes the descriptor out of `opened`; the duplicate stays ours to shut down.
            self._keep(opened.dup())
            opened.settimeout(min(self.remaining(), _CONNECT_TIMEOUT))
            opened.connect(address)
            self.connected = True
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.settimeout(self.remaining())
        except BaseException:
            opened.close()
            raise
        return opened

    def _keep(self, line: socket.socket) -> None:
        self.hang_up()
        with self._lock:
            self._line = line

    def _resolve(self, host: str, port: int) -> _Found:
        # getaddrinfo can't be interrupted nor told a limit, so it waits in a thread that may be left behind.
        answer: queue.SimpleQueue[_Found | Exception] = queue.SimpleQueue()
        threading.Thread(target=_look_up, args=(host, port, answer), name="resolve", daemon=True).start()
        while True:
            try:
                found = answer.get(timeout=min(self.remaining(), 0.1))
            except queue.Empty:
                continue
            if isinstance(found, Exception):
                raise UnreachableError(f"the name {host} does not resolve: {found}") from found
            return found


def _look_up(host: str, port: int, answer: "queue.SimpleQueue[_Found | Exception]") -> None:
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        answer.put([(row[0], row[3], row[4]) for row in rows])
    except (OSError, UnicodeError, ValueError) as error:
        answer.put(error)


def _shutdown(line: socket.socket) -> None:
    try:
        line.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # not connected yet, or no more


class _Connection(HTTPConnection):
    """urllib3's, with our socket: so Host, SNI and certificate checks keep the name."""

    def __init__(self, *args: Any, dial: Dial, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._dial = dial

    def _new_conn(self) -> socket.socket:
        return self._dial.connect(self.host, self.port)


class _SecureConnection(HTTPSConnection):
    def __init__(self, *args: Any, dial: Dial, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._dial = dial

    def _new_conn(self) -> socket.socket:
        return self._dial.connect(self.host, self.port or 443)


class PlainPool(HTTPConnectionPool):
    """A pool for one request over http; takes the argument `dial`."""

    ConnectionCls = _Connection


class SecurePool(HTTPSConnectionPool):
    """A pool for one request over https; takes the argument `dial`."""

    ConnectionCls = _SecureConnection
