"""Heartbeats: a handler that works for long says that it is alive, and is waited for no longer than it is silent.

The row is the truth: each beat moves it on, and a sweep fails the attempt that has let it pass. A process that is
lost, or frozen, is found by its lease.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from models.database import OUTAGES
from models.queries import deadlines
from orchestrator.services.claiming import Claimed
from orchestrator.services.deps import Deps

_log = structlog.get_logger(__name__)
_OFTEN = 4  # beats that are written within the time that a handler may be silent


@dataclass(slots=True)
class _Beat:
    """Writes a beat down, at most four times in a `heartbeat`; tells the handler when the attempt is over."""

    deps: Deps
    claimed: Claimed
    seconds: float
    written: float = field(default_factory=time.monotonic)

    def __call__(self) -> None:
        claimed, now = self.claimed, time.monotonic()
        if now - self.written < self.seconds / _OFTEN:
            return
        try:
            with self.deps.db.transaction() as session:
                lives = deadlines.beat(session, claimed.info.id, claimed.no, claimed.attempt, self.seconds)
        except OUTAGES as error:
            _log.warning("heartbeat not written", run=claimed.info.id, step=claimed.path, reason=str(error))
            return
        self.written = now
        if not lives:
            claimed.given_up.set()


def of(deps: Deps, claimed: Claimed) -> Callable[[], None]:
    """What an attempt's handler calls to say that it is alive."""
    seconds = claimed.node.heartbeat
    return _silence if seconds is None else _Beat(deps, claimed, seconds)


def _silence() -> None:
    """Nobody listens."""
