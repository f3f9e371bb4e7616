"""The connections of one process to one gateway: shared, few, reopened with backoff, left alone while it is away.

Source: spec "gateway" §4 (one connection carries many runs), "running" (GATEWAY_POOL_TTL, GATEWAY_POOL_MAX).
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from models.errors import UnavailableError
from orchestrator.drivers.openclaw_connection import Connection
from orchestrator.drivers.openclaw_frames import GatewayDownError, GatewayRefusedError, GivenUpError

BRIEFLY = 2.0  # seconds that a caller waits for a gateway that is away
CROWDED = 100  # calls on one connection before another is opened beside it
_BACKOFF_FIRST = 0.1
_BACKOFF_MOST = 5.0
_BREAKS_AFTER = 3
_LOOK_EVERY = 0.25
_Failure = GatewayRefusedError | UnavailableError

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Trouble:
    """Why the last tries to connect failed (`streak` of them, `failures` ever), and when the next is due."""

    error: _Failure | None = None
    failures: int = 0
    streak: int = 0
    next_try: float = 0.0

    @property
    def is_broken(self) -> bool:
        return self.streak >= _BREAKS_AFTER

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
    """Hands out connections. One thread at a time connects; the others wait for how it ends.

    After three failures in a row the circuit is open: callers fail at once until the next try is due.
    dial: opens a connection; raises GatewayRefusedError and UnavailableError.
    """

    def __init__(self, dial: Callable[[], Connection], *, most: int) -> None:
        self._dial = dial
        self._most = most
        self._changed = threading.Condition()
        self._connections: list[Connection] = []
        self._connecting = False
        self._trouble = _Trouble()
        self._closed = False

    def connection(
        self,
        deadline: float | None,
        cancelled: threading.Event | None = None,
        *,
        wait: float = BRIEFLY,
        patient: bool = False,
        probe: bool = False,
    ) -> Connection:
        """A live connection, within `wait` seconds and before the deadline.

        patient: wait even while the circuit is open. probe: try at once, whenever the next try is due.
        Raises UnavailableError, GatewayRefusedError, GivenUpError.
        """
        give_up_at = time.monotonic() + wait
        if deadline is not None:
            give_up_at = min(give_up_at, deadline)
        with self._changed:
            seen = self._trouble.failures
            ours = False
            if probe:
                self._trouble.next_try = 0.0
            while True:
                found = self._usable()
                if found is not None:
                    return found
                ours = self._try() or ours
                self._check(give_up_at, cancelled)
                if not patient:
                    self._fail_fast(seen, ours)
                self._wait(give_up_at)

    def open_connection(self) -> Connection | None:
        """A live connection if there is one; never waits."""
        with self._changed:
            return self._least_loaded()

    def close(self) -> None:
        """End all connections; calls that wait are lost."""
        for connection in self._end():
            connection.close()

    def retire(self) -> None:
        """Open no more connections; those that are there end when their calls have."""
        for connection in self._end():
            connection.retire()

    def _end(self) -> list[Connection]:
        with self._changed:
            self._closed = True
            connections, self._connections = self._connections, []
            self._changed.notify_all()
        return connections

    def _least_loaded(self) -> Connection | None:
        self._connections = [connection for connection in self._connections if connection.alive]
        return min(self._connections, key=lambda connection: connection.load, default=None)

    def _usable(self) -> Connection | None:
        best = self._least_loaded()
        if best is not None and best.load >= CROWDED and len(self._connections) < self._most:
            self._try()  # the next caller finds it beside this one
        return best

    def _try(self) -> bool:
        """Begin to connect, when that is due and nobody does already."""
        if self._closed or self._connecting or time.monotonic() < self._trouble.next_try:
            return False
        self._connecting = True
        threading.Thread(target=self._connect, name="gateway-connect", daemon=True).start()
        return True

    def _check(self, give_up_at: float, cancelled: threading.Event | None) -> None:
        if cancelled is not None and cancelled.is_set():
            raise GivenUpError("given up")
        if self._closed:
            raise UnavailableError("the way to the gateway has just been closed")
        if time.monotonic() >= give_up_at:
            raise UnavailableError(str(self._trouble.error or "the gateway is still being connected to"))

    def _fail_fast(self, seen: int, ours: bool) -> None:
        trouble = self._trouble
        if trouble.error is None or (ours and trouble.failures == seen):
            return
        news = trouble.failures > seen
        refused = isinstance(trouble.error, GatewayRefusedError)
        if trouble.is_broken or (refused and (news or not self._connecting)):
            raise _again(trouble.error)

    def _wait(self, give_up_at: float) -> None:
        until = give_up_at if self._connecting else min(give_up_at, self._trouble.next_try)
        self._changed.wait(min(_LOOK_EVERY, max(0.001, until - time.monotonic())))

    def _connect(self) -> None:
        opened: Connection | None = None
        failure: _Failure | None = None
        try:
            opened = self._dial()
        except (GatewayRefusedError, UnavailableError) as error:
            failure = error
        except Exception as error:
            log.exception("connecting to a gateway failed")
            failure = UnavailableError(f"connecting failed: {type(error).__name__}: {error}")
        with self._changed:
            self._connecting = False
            if failure is not None:
                self._trouble.add(failure)
            elif opened is not None and not self._closed:
                self._connections.append(opened)
                self._trouble.clear()
            self._changed.notify_all()
        if opened is not None and self._closed:
            opened.close()


def _again(error: _Failure) -> _Failure:
    """The same failure for another caller; one that is raised by many threads would keep all their frames."""
    return type(error)(str(error))
