"""The times of a recurrence rule of RFC 5545 in a time zone.

The rule counts in local time. One that the clocks jump over is read with the offset before the jump, so that it
comes that much later; one that comes twice is the first (RFC 5545, 3.3.5). Two that fall together fire once.
"""

import calendar
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from dateutil import rrule as rules

from orchestrator.core.rule_days import fits_some_day

FIRST_YEAR = 1970  # of a start: each time of a rule with COUNT is counted from there
MOST_COUNT = 1_000  # they are counted from the first one on, each time
_FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY")
_STEPS = {
    "WEEKLY": timedelta(weeks=1),
    "DAILY": timedelta(days=1),
    "HOURLY": timedelta(hours=1),
    "MINUTELY": timedelta(minutes=1),
}
_MONTHS = {"YEARLY": 12, "MONTHLY": 1}
_PARTS = (
    *("FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYSECOND", "BYMINUTE", "BYHOUR", "BYDAY"),
    *("BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYMONTH", "BYSETPOS"),
)
_MOMENT = re.compile(r"([0-9]{8})(?:T([0-9]{6})(Z?))?", re.ASCII)
_START = re.compile(r"DTSTART(?:;TZID=([^:;]+))?(?:;VALUE=DATE(?:-TIME)?)?:([0-9TZ]+)", re.ASCII)
_NUMBER = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)
_FORM = "write an RRULE of RFC 5545, such as FREQ=WEEKLY;BYDAY=MO,WE;BYHOUR=9;BYMINUTE=0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule that was read, in local times. `count` counts what is after `begins`; `parts`: the rest, by name."""

    start: datetime
    begins: datetime
    until: datetime | None
    count: int | None
    parts: tuple[tuple[str, str], ...]

    @property
    def frequency(self) -> str:
        return dict(self.parts)["FREQ"]


def problem(text: str, zone: ZoneInfo, anchor: datetime) -> str | None:
    """What is wrong with a rule, in a sentence; None where it is one that we follow."""
    try:
        rule = _read(text, zone, anchor)
        if not fits_some_day(dict(rule.parts)):
            return f"{text!r} never fires: no day fits it"
        _built(rule, rule.start)
        if next(_from(rule, rule.start), None) is None:
            return f"{text!r} never fires"
    except (ValueError, OverflowError) as error:
        return f"{text!r} is no rule that can be followed ({error}); {_FORM}"
    return None


def next_after(text: str, zone: ZoneInfo, anchor: datetime, after: datetime) -> datetime | None:
    """The first fire time after a moment, in UTC; None where the rule has come to its end.

    anchor: a rule without DTSTART starts with the midnight before it, so that it falls on whole hours and minutes,
    and counts from the anchor on.
    """
    rule = _read(text, zone, anchor)
    found: datetime | None = None
    latest = None
    local = after.astimezone(zone).replace(tzinfo=None)
    for each in _from(rule, local - _slack(zone, after)):
        if latest is not None and each > latest:
            break
        at = each.replace(tzinfo=zone).astimezone(UTC)
        if at > after and (found is None or at < found):
            found, latest = at, each + _slack(zone, at)  # where the clocks jump a later one may come first
    return found


def _slack(zone: ZoneInfo, at: datetime) -> timedelta:
    """By how much the clocks change within a day of a moment."""
    near = [(at + timedelta(days=days)).astimezone(zone).utcoffset() or timedelta() for days in (-1, 1)]
    return abs(near[1] - near[0])


def _from(rule: Rule, local: datetime) -> Any:
    """The rule's local times from one on, in order."""
    if rule.count is not None:
        counted = (each for each in _built(rule, rule.start) if each > rule.begins)
        return (each for each in islice(counted, rule.count) if each >= local)
    return (each for each in _built(rule, _start_near(rule, local)) if each >= local)


def _start_near(rule: Rule, local: datetime) -> datetime:
    """A start near a local time from which the rule goes on as from its own, so that nothing is counted up to it.

    A start moved by whole intervals keeps their phase, and its date, weekday or time of day where the rule takes them
    from it.
    """
    if local <= rule.start:
        return rule.start
    interval, step = int(dict(rule.parts).get("INTERVAL", "1")), _STEPS.get(rule.frequency)
    if step is None:
        return _months_later(rule.start, local, interval * _MONTHS[rule.frequency])
    span = step * interval
    return rule.start + span * max(0, (local - rule.start) // span - 1)


def _months_later(start: datetime, local: datetime, span: int) -> datetime:
    """`start`, moved by a whole number of `span` months to a month that has its day, before that of `local`."""
    months = (local.year - start.year) * 12 + local.month - start.month
    for spans in range(months // span - 1, 0, -1):
        later = start.month - 1 + spans * span
        year, month = start.year + later // 12, later % 12 + 1
        if start.day <= calendar.monthrange(year, month)[1]:
            return start.replace(year=year, month=month)
    return start


def _built(rule: Rule, start: datetime) -> rules.rrule:
    made = rules.rrulestr(";".join(f"{name}={value}" for name, value in rule.parts), dtstart=start)
    assert isinstance(made, rules.rrule), "one rule was given, and several made"
    return made.replace(until=rule.until)


@lru_cache(maxsize=1_000)
def _read(text: str, zone: ZoneInfo, anchor: datetime) -> Rule:
    """Raises ValueError with what is wrong."""
    rule, begins = None, anchor.astimezone(zone).replace(tzinfo=None)
    start = begins.replace(hour=0, minute=0, second=0, microsecond=0)
    for line in text.strip().upper().splitlines() if ":" not in text else text.strip().splitlines():
        if (named := _START.fullmatch(line.strip())) is not None:
            if named[1] is not None and named[1] != zone.key:
                raise ValueError(f"TZID is {named[1]}, timezone {zone.key}; leave TZID out")
            start = _local(named[2], zone)
            if start.year < FIRST_YEAR:
                raise ValueError(f"DTSTART is before {FIRST_YEAR}")
            begins = start - timedelta(seconds=1)
        elif rule is None:
            rule = line.strip().upper().removeprefix("RRULE:")
        else:
            raise ValueError("give one rule and at most one DTSTART; RDATE and EXDATE are not followed")
    return _checked(_parts(rule or ""), zone, Rule(start=start, begins=begins, until=None, count=None, parts=()))


def _parts(rule: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in rule.rstrip(";").split(";"):
        name, sign, value = part.partition("=")
        if name not in _PARTS or not sign or not value or name in found:
            raise ValueError(f"{part!r} is no part of a rule, or comes twice")
        found[name] = value
    return found


def _checked(parts: dict[str, str], zone: ZoneInfo, rule: Rule) -> Rule:
    if parts.get("FREQ") not in _FREQUENCIES:
        raise ValueError(f"FREQ is one of {', '.join(_FREQUENCIES)}; for seconds use interval")
    for name in ("INTERVAL", "COUNT"):
        if name in parts and not _NUMBER.fullmatch(parts[name]):
            raise ValueError(f"{name} is a number of 1 to 999999")
    if "BYSETPOS" in parts and parts["FREQ"] not in ("YEARLY", "MONTHLY", "WEEKLY"):
        raise ValueError("BYSETPOS goes with YEARLY, MONTHLY and WEEKLY")
    if "," in parts.get("BYSECOND", ""):
        raise ValueError("BYSECOND is one second; for several times a minute use interval")
    times = (parts.get("BYHOUR", "").count(",") + 1) * (parts.get("BYMINUTE", "").count(",") + 1)
    if parts["FREQ"] in ("YEARLY", "MONTHLY") and times > 24:
        raise ValueError("with YEARLY and MONTHLY there are at most 24 times a day")
    until, count = parts.pop("UNTIL", None), parts.pop("COUNT", None)
    if until is not None and count is not None:
        raise ValueError("UNTIL and COUNT exclude each other")
    if count is not None and int(count) > MOST_COUNT:
        raise ValueError(f"COUNT is {MOST_COUNT} at most; use UNTIL")
    rule = replace(rule, parts=tuple(parts.items()))
    if until is not None:
        return replace(rule, until=_local(until, zone))
    return rule if count is None else replace(rule, count=int(count))


def _local(text: str, zone: ZoneInfo) -> datetime:
    """A date or time of RFC 5545 in local time. Raises ValueError."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time; write 20260131T090000")
    at = datetime.strptime(found[1] + (found[2] or "000000"), "%Y%m%d%H%M%S")
    return at.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None) if found[3] else at
