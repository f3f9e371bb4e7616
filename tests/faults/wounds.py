"""What was done to the stack, and when it was well again."""

import threading
from dataclasses import dataclass, field

from tests.faults.plan import Kind


@dataclass(slots=True, kw_only=True)
class Wound:
    """One fault that was inflicted. Times are seconds since 1970; `pids`: processes that lost or froze their work.

    healed_at: what was hit is there again; None while it is not.
    """

    kind: Kind
    target: str
    at: float
    pids: frozenset[int] = frozenset()
    healed_at: float | None = None

    @property
    def seconds(self) -> float:
        """How long until what was hit was there again; endless where it never was."""
        return float("inf") if self.healed_at is None else self.healed_at - self.at


@dataclass(slots=True)
class Record:
    """All wounds, and the faults that were spared because a step would have been hit for a third time."""

    wounds: list[Wound] = field(default_factory=list)
    spared: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, wound: Wound) -> Wound:
        with self._lock:
            self.wounds.append(wound)
        return wound

    def last_healed(self) -> float:
        """When the last wound had healed; endless where one has not."""
        return max((wound.at + wound.seconds for wound in self.wounds), default=0.0)
