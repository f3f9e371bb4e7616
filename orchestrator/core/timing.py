"""When a schedule fires: cron, interval or recurrence rule, in a time zone, from a start to an end.

Pure: every function takes the moments that it counts from. Fire times are whole seconds in UTC but for intervals,
which are elapsed time from the anchor.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from models.errors import Problem
from orchestrator.core import cron, durations, recurrence

SHORTEST = 1.0  # seconds of an interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One of `cron`, `interval` (a duration) and `rrule`, in `timezone`.

    anchor: what intervals count from; a rule without DTSTART does from the midnight before it. starts_at, ends_at: no
    fire time before, none after.
    """

    anchor: datetime
    timezone: str = "UTC"
    cron: str | None = None
    interval: Any = None
    rrule: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None


def problems(timing: Timing) -> list[Problem]:
    """What is wrong with a timing, each with the pointer of its field."""
    given = [name for name in ("cron", "interval", "rrule") if getattr(timing, name) is not None]
    if len(given) != 1:
        code = "INVALID_VALUE" if given else "MISSING_FIELD"
        pointer = f"/{given[-1] if given else 'cron'}"
        return [Problem(pointer=pointer, code=code, message="Give exactly one of cron, interval and rrule")]
    zone = _zone(timing.timezone)
    if zone is None:
        message = f"There is no time zone {timing.timezone!r}; write an IANA name, such as Europe/Berlin or UTC"
        return [Problem(pointer="/timezone", code="INVALID_VALUE", message=message)]
    found = [problem for problem in (_wrong(timing, zone),) if problem is not None]
    if timing.starts_at is not None and timing.ends_at is not None and timing.ends_at < timing.starts_at:
        message = "ends_at is before starts_at; make it the later one"
        found.append(Problem(pointer="/ends_at", code="INVALID_VALUE", message=message))
    return found


def _wrong(timing: Timing, zone: ZoneInfo) -> Problem | None:
    if timing.cron is not None:
        message = cron.problem(timing.cron)
        return None if message is None else Problem(pointer="/cron", code="INVALID_CRON", message=message)
    if timing.rrule is not None:
        message = recurrence.problem(timing.rrule, zone, timing.anchor)
        return None if message is None else Problem(pointer="/rrule", code="INVALID_VALUE", message=message)
    seconds = durations.seconds(timing.interval)
    if seconds is None or seconds < SHORTEST:
        message = f"{timing.interval!r} is no interval; write 30s, 5m, 2h, 7d or a number of seconds, 1 s or more"
        return Problem(pointer="/interval", code="INVALID_DURATION", message=message)
    return None


def next_after(timing: Timing, after: datetime) -> datetime | None:
    """The first fire time after a moment; None where there is none any more."""
    if timing.starts_at is not None:
        after = max(after, timing.starts_at - timedelta(microseconds=1))
    found = _next(timing, after)
    over = found is None or (timing.ends_at is not None and found > timing.ends_at)
    return None if over else found


def upcoming(timing: Timing, after: datetime) -> Iterator[datetime]:
    """The fire times after a moment, in order."""
    at = next_after(timing, after)
    while at is not None:
        yield at
        at = next_after(timing, at)


def missed(timing: Timing, first: datetime, oldest: datetime, most: int) -> tuple[int, datetime | None]:
    """How many fire times from `first` on are before `oldest`, `most` at most, and the first one after those."""
    number, at = 0, first
    while at < oldest and number < most:
        number += 1
        later = next_after(timing, at)
        if later is None:
            return number, None
        at = later
    return number, at


def _next(timing: Timing, after: datetime) -> datetime | None:
    zone = _zone(timing.timezone)
    assert zone is not None, f"the time zone {timing.timezone} is gone"
    try:
        if timing.cron is not None:
            return cron.next_after(timing.cron, zone, after)
        if timing.rrule is not None:
            return recurrence.next_after(timing.rrule, zone, timing.anchor, after)
        every = timedelta(seconds=durations.seconds(timing.interval) or 0.0)
        return timing.anchor + every * ((after - timing.anchor) // every + 1)
    except OverflowError:  # past the year 9999
        return None


def jitter(schedule_id: str, fire_at: datetime, most: float) -> timedelta:
    """By how much a fire time's run starts later, below `most` seconds: the same whoever asks."""
    text = f"{schedule_id} {fire_at.astimezone(UTC).isoformat()}"
    share = int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48
    return timedelta(seconds=round(share * most, 3))


@lru_cache(maxsize=1_000)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
