"""One thread that looks after any number of blocking waits: each ends when it is given up or late."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_LOOK_EVERY = 0.05


@dataclass(slots=True, eq=False)
class _Guarded:
    cancelled: threading.Event
    deadline: float | None
    act: Callable[[], None]

    def due(self, now: float) -> bool:
        return self.cancelled.is_set() or (self.deadline is not None and now >= self.deadline)


class Watch:
    """Hundreds of threads wait on sockets; an event and a deadline for each would cost them a poll each.

    The thread starts with the first wait and sleeps while there is none.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waits: set[_Guarded] = set()
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(
        self, cancelled: threading.Event, deadline: float | None, act: Callable[[], None]
    ) -> Iterator[None]:
        """Call `act` once, from the watching thread, when `cancelled` is set or the `deadline` passes.

        `act` must not block nor raise. It can still run while the block is being left.
        """
        wait = _Guarded(cancelled, deadline, act)
        with self._changed:
            self._waits.add(wait)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
                self._thread.start()
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._waits.discard(wait)

    def _look(self) -> None:
        while True:
            with self._changed:
                while not self._waits:
                    self._changed.wait()
                now = time.monotonic()
                due = [wait for wait in self._waits if wait.due(now)]
                self._waits.difference_update(due)
            for wait in due:
                wait.act()
            time.sleep(_LOOK_EVERY)
