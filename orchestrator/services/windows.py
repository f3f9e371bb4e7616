"""What a process knows of the dispatch windows without asking: so that a step costs no question.

All of it is a guess that lasts a moment. What is sent, and who consumes, is counted in the database's rows.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

KNOWN_SECONDS = 1.0
CONSUMERS_SECONDS = 5.0
BUSY_SECONDS = 0.05
SHARE = 4
PARTS = 16


@dataclass(slots=True)
class _Known:
    """Of one lane: room that is this process's own until `until`; claims since it looked for held steps, and
    whether there were some."""

    room: int = 0
    until: float = 0.0
    claims: int = 0
    looked: float = 0.0
    busy: bool = False


@dataclass(slots=True, kw_only=True)
class Windows:
    """Thread-safe. Lanes are texts; there is one for each workspace and queue."""

    _lanes: dict[str, _Known] = field(default_factory=dict)
    _sizes: dict[str, tuple[int, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, lane: str, wanted: int, ask: Callable[[], int]) -> int:
        """How many of `wanted` steps may be published; `ask` says how much room the lane has.

        Of what is left a share is kept, so that the next few need not ask.
        """
        with self._lock:
            known = self._of(lane)
            if known.room >= wanted and time.monotonic() < known.until:
                known.room -= wanted
                return wanted
        room = max(0, ask())
        granted = min(room, wanted)
        with self._lock:
            known = self._of(lane)
            known.room = (room - granted) // SHARE
            known.until = time.monotonic() + KNOWN_SECONDS
            known.busy = known.busy or granted < wanted
        return granted

    def size(self, queue: str, ask: Callable[[], int]) -> int:
        """The window of a queue; `ask` works it out."""
        with self._lock:
            size, until = self._sizes.get(queue, (0, 0.0))
        if time.monotonic() < until:
            return size
        size = ask()
        with self._lock:
            self._sizes[queue] = (size, time.monotonic() + CONSUMERS_SECONDS)
        return size

    def claimed(self, lane: str, queue: str, claims: int = 1) -> float | None:
        """Steps of the lane were claimed: in how many seconds to look for held steps, which have room now.

        None: not for this one. Once a second; while some are held, at once after a part of the window, and
        50 ms after any other claim, since it may be the last one of the window.
        """
        with self._lock:
            known, now = self._of(lane), time.monotonic()
            known.claims += claims
            many = known.claims * PARTS >= self._sizes.get(queue, (0, 0.0))[0]
            if now - known.looked < KNOWN_SECONDS and not (known.busy and many):
                return BUSY_SECONDS if known.busy else None
            known.claims, known.looked = 0, now
            return 0.0

    def busy(self, lane: str) -> bool:
        """Whether steps of the lane were held when it was looked at last."""
        with self._lock:
            return self._of(lane).busy

    def found(self, lane: str, *, held: bool) -> None:
        """Whether a look found held steps."""
        with self._lock:
            self._of(lane).busy = held

    def _of(self, lane: str) -> _Known:
        return self._lanes.setdefault(lane, _Known())
