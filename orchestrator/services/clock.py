"""The clock for what is due: real time, or (in tests of long spans) a faster one with a stored origin.

Source: spec "running", CLOCK_SPEED.
"""

import time
from dataclasses import dataclass

from models.database import Database
from models.queries import stamps
from orchestrator.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualClock:
    """now = virtual start + speed × (real time since the stack first started); all in seconds since 1970."""

    origin: float = 0.0
    start: float = 0.0
    speed: float = 1.0

    def now(self) -> float:
        return self.start + self.speed * (time.time() - self.origin)

    def real(self, seconds: float) -> float:
        """How many real seconds a virtual span takes."""
        return seconds / self.speed


def make(settings: Settings, db: Database) -> VirtualClock:
    """The process's clock. Only a clock that differs from real time reads its origin, a row made once."""
    if settings.clock_speed == 1.0 and settings.clock_start is None:
        return VirtualClock()
    with db.transaction() as session:
        origin = stamps.first(session, "clock.origin", time.time())
    start = origin if settings.clock_start is None else settings.clock_start
    return VirtualClock(origin=origin, start=start, speed=settings.clock_speed)
