"""How long to pause between tries, and when to give up."""

import random
import time
from dataclasses import dataclass

from orchestrator.client.errors import ClientError, ConnectionFailed, RateLimited, Unavailable

PASSING = (ConnectionFailed, RateLimited, Unavailable)
_FIRST, _FACTOR, _MOST = 0.2, 2.0, 5.0


def pause(failures: int, error: ClientError) -> float:
    """Seconds to wait after so many failures in a row: 0.2, 0.4 … 5, half of it by chance, or what the API asks.

    More than 5 s the client does not wait, whatever it is asked.
    """
    grown = min(_MOST, _FIRST * _FACTOR ** min(failures - 1, 10))
    asked = error.retry_after if isinstance(error, RateLimited | Unavailable) else 0.0
    # by chance, so that clients that failed together do not come back together
    return max(min(asked, _MOST), random.uniform(grown / 2, grown))  # noqa: S311 - no secret


@dataclass(slots=True)
class Deadline:
    """A moment; never, where `seconds` is None."""

    seconds: float | None
    began: float = 0.0

    def __post_init__(self) -> None:
        self.began = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds until then, 0 or less once it is over."""
        return float("inf") if self.seconds is None else self.began + self.seconds - time.monotonic()


@dataclass(slots=True)
class Grace:
    """How long somebody who follows a run puts up with an API that is away: `seconds` from the first failure."""

    seconds: float
    _failures: int = 0
    _since: float = 0.0

    def answered(self) -> None:
        """The API is there."""
        self._failures = 0

    def failed(self, error: ClientError, most: float = float("inf")) -> None:
        """Wait for the next try, `most` seconds at most. Raises `error` when the time is up."""
        now = time.monotonic()
        if self._failures == 0:
            self._since = now
        self._failures += 1
        if most <= 0 or now - self._since > self.seconds:
            raise error
        time.sleep(min(most, pause(self._failures, error)))
