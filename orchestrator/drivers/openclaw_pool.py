"""The connections of one process to one gateway: shared, few, reopened with backoff.

Source: spec "gateway" §4 (one connection carries many runs), "running" (GATEWAY_POOL_TTL, GATEWAY_POOL_MAX).
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from models.errors import UnavailableError
from orchestrator.drivers.openclaw_connection import Connection
from orchestrator.drivers.openclaw_frames import GatewayDownError, GatewayRefusedError, GivenUpError
from orchestrator.drivers.openclaw_handshake import Address
from orchestrator.drivers.watch import Watch

_HANDSHAKE_TIMEOUT = 15.0
_BACKOFF_FIRST = 0.1
_BACKOFF_MOST = 5.0
_LOOK_EVERY = 0.25
_Failure = GatewayRefusedError | UnavailableError
CROWDED = 100  # runs on one connection before another is opened beside it


@dataclass(slots=True)
class _Trouble:
    """Why the last tries to connect failed (`streak` of them, `failures` ever), and when the next is due."""

    error: _Failure | None = None
    failures: int = 0
    streak: int = 0
    next_try: float = 0.0

    def add(self, error: _Failure) -> None:
        pause = min(_BACKOFF_MOST, _BACKOFF_FIRST * 2.0 ** min(self.streak, 16))
        pause *= 1 + random.random() / 4  # noqa: S311 - spreads processes, guards nothing
        after = error.retry_after if isinstance(error, GatewayDownError) else 0.0
        self.error = error
        self.failures += 1
        self.streak += 1
        self.next_try = time.monotonic() + max(pause, after)

    def clear(self) -> None:
        self.error = None
        self.streak = 0
        self.next_try = 0.0


class Pool:
    """Hands out connections. While one thread connects, the others wait for how it ends.

    address: asked before each try, so that a gateway that moved is found. patience: seconds that a caller
    waits for a gateway that is away.
    """

    def __init__(self, address: Callable[[], Address], *, most: int, idle: float, patience: float) -> None:
        self.patience = patience
        self.watch = Watch()
        self._address = address
        self._most = most
        self._idle = idle
        self._changed = threading.Condition()
        self._connections: list[Connection] = []
        self._connecting = False
        self._trouble = _Trouble()
        self._was_open = False
        self._closed = False

    def connection(self, deadline: float | None, cancelled: threading.Event) -> Connection:
        """A live connection.

        Raises UnavailableError when none could be had within the patience or before the deadline,
        GatewayRefusedError, GivenUpError.
        """
        give_up_at = time.monotonic() + self.patience
        if deadline is not None:
            give_up_at = min(give_up_at, deadline)
        seen = self._trouble.failures
        while True:
            with self._changed:
                found = self._usable()
                if found is not None:
                    return found
                if not self._may_connect():
                    self._wait(give_up_at, seen, cancelled)
                    continue
                self._connecting = True
            self._connect(give_up_at)

    def open_connection(self) -> Connection | None:
        """A live connection if there is one; never waits."""
        with self._changed:
            return self._usable(crowded=True)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.close()

    def _usable(self, *, crowded: bool = False) -> Connection | None:
        self._connections = [connection for connection in self._connections if connection.alive]
        best = min(self._connections, key=lambda connection: connection.load, default=None)
        if best is None or crowded or best.load < CROWDED or len(self._connections) >= self._most:
            return best
        return None if self._may_connect() else best

    def _may_connect(self) -> bool:
        return not self._closed and not self._connecting and time.monotonic() >= self._trouble.next_try

    def _wait(self, give_up_at: float, seen: int, cancelled: threading.Event) -> None:
        now = time.monotonic()
        trouble = self._trouble
        if cancelled.is_set():
            raise GivenUpError("given up")
        if self._closed:
            raise UnavailableError("the process is shutting down")
        if trouble.error is not None and trouble.failures > seen and not self._is_passing(trouble.error):
            raise trouble.error
        if now >= give_up_at:
            raise UnavailableError(str(trouble.error or "the gateway is still being connected to"))
        until = give_up_at if self._connecting else min(give_up_at, trouble.next_try)
        self._changed.wait(min(_LOOK_EVERY, max(0.001, until - now)))

    def _is_passing(self, error: Exception) -> bool:
        # That there is no address at all is news at first, later it is a gateway that restarts.
        return isinstance(error, GatewayDownError) or (
            self._was_open and not isinstance(error, GatewayRefusedError)
        )

    def _connect(self, give_up_at: float) -> None:
        opened: Connection | None = None
        failure: _Failure | None = None
        try:
            opened = self._open(max(0.1, min(_HANDSHAKE_TIMEOUT, give_up_at - time.monotonic())))
        except (GatewayRefusedError, UnavailableError) as error:
            failure = error
        finally:
            with self._changed:
                self._connecting = False
                if opened is not None and self._closed:
                    opened.close()
                elif opened is not None:
                    self._connections.append(opened)
                    self._trouble.clear()
                    self._was_open = True
                if failure is not None:
                    self._trouble.add(failure)
                self._changed.notify_all()

    def _open(self, timeout: float) -> Connection:
        address = self._address()
        try:
            return Connection.open(address, self.watch, idle=self._idle, timeout=timeout)
        except GatewayRefusedError as error:
            if self._address() == address:
                raise
            raise GatewayDownError("the gateway has just moved", retry_after=0.0) from error
