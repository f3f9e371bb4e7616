"""Which node types are cheap: the middle of the last few calls of their handlers, here or in other processes.

The middle, for a thread that had to wait for the interpreter must not make a quick type slow.
"""

import threading
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from statistics import median

from orchestrator.core.batches import CHEAP_SECONDS, QUICK_SECONDS

KEPT = 15
ENOUGH = 3


@dataclass(slots=True)
class Paces:
    """Thread-safe. Types are the names of node types, times are seconds. What was seen here counts before what was
    heard.
    """

    _last: dict[str, deque[float]] = field(default_factory=dict)
    _middle: dict[str, float] = field(default_factory=dict)
    _heard: frozenset[str] = frozenset()
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def took(self, type_: str, seconds: float) -> None:
        """A handler was called for so long."""
        with self._lock:
            last = self._last.setdefault(type_, deque(maxlen=KEPT))
            last.append(seconds)
            if len(last) >= ENOUGH:
                self._middle[type_] = median(last)

    def hear(self, cheap: Collection[str]) -> None:
        """Other processes found these types to be cheap."""
        self._heard = frozenset(cheap)

    @property
    def own_cheap(self) -> frozenset[str]:
        """The types that were found to be cheap here."""
        with self._lock:
            return frozenset(type_ for type_, middle in self._middle.items() if middle < CHEAP_SECONDS)

    @property
    def any_cheap(self) -> bool:
        """Whether any type is known to be."""
        return bool(self._heard or self.own_cheap)

    def cheap(self, type_: str) -> bool:
        """Whether its handler is known to take less than CHEAP_SECONDS."""
        return self._under(type_, CHEAP_SECONDS)

    def quick(self, type_: str) -> bool:
        """Whether its handler is known to take less than QUICK_SECONDS."""
        return self._under(type_, QUICK_SECONDS)

    def _under(self, type_: str, seconds: float) -> bool:
        middle = self._middle.get(type_)
        return type_ in self._heard if middle is None else middle < seconds
