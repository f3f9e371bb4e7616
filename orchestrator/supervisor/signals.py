"""Signals as something to wait for: the supervisor sleeps until a child ends or it is told to stop."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """How often a stop was asked for, and a sleep that any handled signal ends."""

    def __init__(self) -> None:
        self.stops = 0
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def wait(self, seconds: float) -> None:
        """Sleep `seconds`, less when a child ended or a stop was asked for."""
        if select.select([self._read], [], [], max(0.0, seconds))[0]:
            os.read(self._read, 4096)

    @contextmanager
    def handled(self) -> Iterator["Signals"]:
        """Take the stop signals and SIGCHLD; what was there before comes back at the end."""
        taken = [number for number in _STOPS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup
        before = {number: signal.signal(number, self._stop) for number in taken}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        try:
            yield self
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._read)
            os.close(self._write)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stops += 1
