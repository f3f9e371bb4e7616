"""A deadline for pure computation in the main thread of a process, such as a prefork worker's."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_AGAIN = 0.1


class DeadlineError(BaseException):
    """The time is up. No Exception, so that no `except Exception` of a library swallows it."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise DeadlineError inside the block after `seconds`.

    Signals reach the main thread only: in another thread this bounds nothing. An alarm that was set before, and
    its handler, are put back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    started = time.monotonic()
    armed = True

    def ring(number: int, frame: Any) -> None:  # noqa: ARG001
        if armed:
            raise DeadlineError

    handler = signal.signal(signal.SIGALRM, ring)
    delay, interval = signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001), _AGAIN)
    try:
        try:
            yield
        finally:
            armed = False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if delay:
            left = max(0.001, delay - (time.monotonic() - started))
            signal.setitimer(signal.ITIMER_REAL, left, interval)
