"""The times of a cron expression in a time zone, through every change of its clocks.

As Debian's cron has it, by cronsim. Where minute and hour are both given without a leading `*` the job is of a
wall-clock time: one that the clocks jump over fires at the first moment after it, one that comes twice fires the
first time. Any other job is of spans (`*/15 * * * *`, `30 * * * *`): it fires whenever the local time fits, so in
both of the doubled hours, and in none that is left out.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FORM = "write minute, hour, day of month, month and day of week, such as 30 9 * * MON-FRI"
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)
_EPOCH = datetime(2000, 1, 1)


def problem(text: str) -> str | None:
    """What is wrong with an expression, in a sentence; None where it is one that fires."""
    fields = expression(text).split()
    if len(fields) != 5:
        return f"{text!r} has {len(fields)} fields, not 5; {_FORM}, or one of {', '.join(ALIASES)}"
    try:
        next(CronSim(" ".join(fields), _EPOCH))
    except CronSimError as error:
        return f"{text!r} is no cron expression ({error}); {_FORM}"
    except StopIteration:
        return f"{text!r} never fires: no day of the next 50 years fits it"
    return None


def expression(text: str) -> str:
    """The five fields that an alias such as `@daily` stands for; other text as it is."""
    return ALIASES.get(text.strip().lower(), text)


def next_after(text: str, zone: ZoneInfo, after: datetime) -> datetime | None:
    """The first fire time after a moment, in UTC; None where there is none in 50 years."""
    fields = expression(text)
    minute, hour = fields.split()[:2]
    if minute.startswith("*") or hour.startswith("*"):
        return _of_spans(fields, zone, after)
    return _of_the_clock(fields, zone, after)


def _of_the_clock(fields: str, zone: ZoneInfo, after: datetime) -> datetime | None:
    found = CronSim(fields, after.astimezone(zone))
    try:
        # in a doubled hour it begins with the first one, which may be over
        while (at := next(found).astimezone(UTC)) <= after:
            pass
    except StopIteration:
        return None
    return at


def _of_spans(fields: str, zone: ZoneInfo, after: datetime) -> datetime | None:
    """Walk from one change of the clocks to the next: between two the local time is a plain count.

    Not left to cronsim, which steps by whole hours and so misses times where clocks change by 30 minutes.
    """
    start, offset = after, _offset(zone, after)
    local = (after + offset).replace(tzinfo=None)
    while True:
        try:
            found = next(CronSim(fields, local))
        except StopIteration:
            return None
        at = found.replace(tzinfo=UTC) - offset
        if _offset(zone, at) == offset:
            return at
        start = _next_change(zone, start, at)
        offset = _offset(zone, start)
        local = (start + offset - _SECOND).replace(tzinfo=None)


def _next_change(zone: ZoneInfo, start: datetime, end: datetime) -> datetime:
    """The first moment after `start` at which the zone's offset is another; it is `end` or before."""
    offset, low = _offset(zone, start), start.replace(microsecond=0)
    while low + _DAY < end and _offset(zone, low + _DAY) == offset:
        low += _DAY
    high = min(low + _DAY, end)
    while high - low > _SECOND:
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if _offset(zone, middle) == offset:
            low = middle
        else:
            high = middle
    return high


def _offset(zone: ZoneInfo, at: datetime) -> timedelta:
    found = at.astimezone(zone).utcoffset()
    assert found is not None
    return found
