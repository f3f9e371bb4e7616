"""The clock of a test: it stands still until it is moved."""

from datetime import UTC, datetime

from orchestrator.core import durations, moments


class HandClock:
    """A port `Clock` whose time passes only when it is told to; seconds since 1970, to the microsecond."""

    def __init__(self, start: float) -> None:
        self._now = round(start, 6)

    def now(self) -> float:
        return self._now

    def real(self, seconds: float) -> float:
        return seconds

    def move_to(self, moment: float) -> None:
        """Never back."""
        self._now = max(self._now, round(moment, 6))


def span(duration: str | float) -> float:
    """A duration, as a definition writes it, in seconds. Raises ValueError."""
    found = durations.seconds(duration)
    if found is None:
        raise ValueError(f"{duration!r} is no duration; write such as 30s, 2h, 14d, or seconds")
    return found


def instant(moment: str | float | datetime) -> float:
    """A moment, RFC 3339 with its offset or seconds, in seconds since 1970. Raises ValueError."""
    if isinstance(moment, datetime):
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    found = moments.seconds(moment)
    if found is None:
        raise ValueError(f"{moment!r} is no moment; write RFC 3339 with its offset, such as 2026-01-31T08:00:00Z")
    return found
