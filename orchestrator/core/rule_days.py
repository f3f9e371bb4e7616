"""Whether a recurrence rule has any day at all.

dateutil looks for the next one until the year 9999, which takes minutes where there is none: so rules whose days
exclude each other are found here first.
"""

import calendar
import re
from collections.abc import Mapping
from datetime import date, timedelta

_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_DAY = re.compile(r"([+-]?[0-9]{1,2})?(MO|TU|WE|TH|FR|SA|SU)", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]{1,3}", re.ASCII)
_FIRST, _SPAN = date(2000, 1, 1), 28 * 366  # every weekday of every date comes up, 29 February too


def fits_some_day(parts: Mapping[str, str]) -> bool:
    """Whether some day fits the parts of a rule that name days. Raises ValueError for what is no day."""
    months, month_days, year_days, weeks = (
        _numbers(parts, name) for name in ("BYMONTH", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO")
    )
    weekdays = _weekdays(parts)
    of_month = parts["FREQ"] == "MONTHLY" or bool(months)
    for day in (_FIRST + timedelta(days=number) for number in range(_SPAN)):
        last, days = calendar.monthrange(day.year, day.month)[1], 365 + calendar.isleap(day.year)
        of_year = day.timetuple().tm_yday
        if (
            (not months or day.month in months)
            and (not month_days or month_days & {day.day, day.day - last - 1})
            and (not year_days or year_days & {of_year, of_year - days - 1})
            and (not weeks or _in_week(day, weeks))
            and (not weekdays or _on_weekday(day, weekdays, (day.day, last) if of_month else (of_year, days)))
        ):
            return True
    return False


def _numbers(parts: Mapping[str, str], name: str) -> frozenset[int]:
    texts = [text for text in parts.get(name, "").split(",") if text]
    if any(not _NUMBER.fullmatch(text) for text in texts):
        raise ValueError(f"{name}={parts[name]} is no list of numbers")
    return frozenset(int(text) for text in texts)


def _weekdays(parts: Mapping[str, str]) -> list[tuple[int, int]]:
    """Pairs of which one of its kind (0: any) and weekday."""
    found = []
    for text in parts["BYDAY"].split(",") if "BYDAY" in parts else ():
        named = _DAY.fullmatch(text)
        if named is None:
            raise ValueError(f"{text!r} is no weekday; write MO, 1MO or -1FR")
        counts = parts["FREQ"] in ("MONTHLY", "YEARLY")
        found.append((int(named[1] or 0) if counts else 0, _DAYS.index(named[2])))
    return found


def _on_weekday(day: date, weekdays: list[tuple[int, int]], place: tuple[int, int]) -> bool:
    number, of = place
    which = {0, (number - 1) // 7 + 1, -((of - number) // 7 + 1)}
    return any(weekday == day.weekday() and nth in which for nth, weekday in weekdays)


def _in_week(day: date, weeks: frozenset[int]) -> bool:
    """By ISO weeks: where a week begins moves single days over, and no week has none."""
    year, week, _ = day.isocalendar()
    last = date(year, 12, 28).isocalendar().week
    return bool(weeks & {week, week - last - 1})
