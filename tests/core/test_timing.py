"""Fire times against a walk over every minute, through the changes of clocks."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from dateutil import rrule as rules
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core import cron, timing
from orchestrator.core.timing import Timing

MINUTE = timedelta(minutes=1)
# a few days round each kind of change: 60 minutes, 30 minutes, at midnight, and none
CHANGES = [
    ("Europe/Berlin", datetime(2026, 3, 28, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 24, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 10, 31, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 3, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 2, tzinfo=UTC)),
    ("America/Havana", datetime(2025, 3, 8, tzinfo=UTC)),
    ("Asia/Kolkata", datetime(2026, 3, 28, tzinfo=UTC)),
    ("UTC", datetime(2026, 3, 28, tzinfo=UTC)),
]
SPAN = timedelta(days=3)

numbers = st.sampled_from
minutes = st.one_of(
    st.just("*"), st.just("*/7"), st.just("*/30"), st.integers(0, 59).map(str), st.just("0,30"), st.just("5-9")
)
hours = st.one_of(
    st.just("*"), st.just("*/2"), st.integers(0, 23).map(str), st.just("1-3"), st.just("0,2,3"), st.just("23")
)
days = st.one_of(st.just("*"), st.just("*/2"), st.just("28-31,1-8"))
weekdays = st.one_of(st.just("*"), st.just("SUN"), st.just("1-6"))


def local_times(zone: ZoneInfo, start: datetime) -> list[tuple[datetime, datetime]]:
    """Each minute from a moment on, with its local time."""
    count = int(SPAN / MINUTE)
    return [((start + MINUTE * n), (start + MINUTE * n).astimezone(zone)) for n in range(count)]


def walked(expression: str, zone: ZoneInfo, start: datetime) -> list[datetime]:
    """The fire times after `start` by the rule in words: see orchestrator.core.cron."""
    fits = parsed(expression)
    minute, hour = expression.split()[:2]
    if minute.startswith("*") or hour.startswith("*"):
        return [at for at, local in local_times(zone, start) if fits(local) and at > start]
    found, seen = [], set()
    walk = local_times(zone, start - timedelta(days=1))
    for (_, before), (at, local) in pairwise(walk):
        wall = local.replace(tzinfo=None, fold=0)
        left_out = wall - before.replace(tzinfo=None, fold=0) - MINUTE  # what the clocks have jumped over
        jumped = [wall - MINUTE * n for n in range(1, int(left_out / MINUTE) + 1)]
        due = [each for each in (wall, *jumped) if fits(each) and each not in seen]
        seen.update(due)
        if due and at > start:
            found.append(at)
    return found


def parsed(expression: str) -> Callable[[datetime], bool]:
    """Whether a local minute fits; written without cronsim."""
    minute, hour, day, month, weekday = expression.split()
    named = weekday.replace("SUN", "0")

    def fits(at: datetime) -> bool:
        by_day, by_weekday = within(day, at.day, 1, 31), within(named, at.isoweekday() % 7, 0, 6)
        either = by_day and by_weekday
        if not day.startswith("*") and not weekday.startswith("*"):
            either = by_day or by_weekday
        return within(minute, at.minute, 0, 59) and within(hour, at.hour, 0, 23) and month == "*" and either

    return fits


def within(field: str, value: int, low: int, high: int) -> bool:
    for term in field.split(","):
        span, _, step = term.partition("/")
        first, _, last = span.partition("-")
        begin, end = (low, high) if span == "*" else (int(first), int(last or first))
        if begin <= value <= end and (value - begin) % int(step or 1) == 0:
            return True
    return False


@settings(max_examples=150, deadline=None)
@given(
    fields=st.tuples(minutes, hours, days, weekdays),
    change=st.sampled_from(CHANGES),
    offset=st.integers(0, 24 * 60),
)
def test_cron_is_what_a_walk_over_every_minute_finds(
    fields: tuple[str, str, str, str], change: tuple[str, datetime], offset: int
) -> None:
    minute, hour, day, weekday = fields
    expression = f"{minute} {hour} {day} * {weekday}"
    zone, start = ZoneInfo(change[0]), change[1] + MINUTE * offset
    counted = Timing(anchor=start, cron=expression, timezone=change[0])
    assert timing.problems(counted) == []
    end = start + SPAN - timedelta(days=1)  # the walk that looks back ends a day earlier
    found = list(takewhile(lambda at: at < end, timing.upcoming(counted, start)))
    assert found == [at for at in walked(expression, zone, start) if at < end]


@settings(max_examples=100, deadline=None)
@given(
    rule=st.sampled_from(
        [
            "FREQ=DAILY;BYHOUR=2;BYMINUTE=30",
            "FREQ=DAILY;BYHOUR=1,2,3;BYMINUTE=0,15,45",
            "FREQ=HOURLY;INTERVAL=5",
            "FREQ=MINUTELY;INTERVAL=50",
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=SA,SU;BYHOUR=2",
            "FREQ=MONTHLY;BYDAY=-1SU,1SU;BYHOUR=2;BYMINUTE=15",
            "FREQ=YEARLY;BYMONTH=3,4,10,11;BYHOUR=2",
        ]
    ),
    change=st.sampled_from(CHANGES),
    offset=st.integers(0, 24 * 60),
)
def test_a_rule_is_its_local_times_wherever_one_begins_to_count(
    rule: str, change: tuple[str, datetime], offset: int
) -> None:
    zone, anchor, start = ZoneInfo(change[0]), datetime(2025, 1, 4, 2, 30, tzinfo=UTC), change[1] + MINUTE * offset
    counted = Timing(anchor=anchor, rrule=rule, timezone=change[0])
    assert timing.problems(counted) == []
    local = anchor.astimezone(zone).replace(tzinfo=None, hour=0, minute=0)
    every = rules.rrulestr(rule, dtstart=local)
    around = every.between((start - SPAN).replace(tzinfo=None), (start + SPAN * 30).replace(tzinfo=None))
    instants = sorted({at.replace(tzinfo=zone).astimezone(UTC) for at in around})
    expected = [at for at in instants if at > start][:20]
    assert list(islice(timing.upcoming(counted, start), len(expected))) == expected


@settings(max_examples=200, deadline=None)
@given(
    rule=st.sampled_from(
        [
            "FREQ=YEARLY",
            "FREQ=YEARLY;BYMONTH=2,5;BYMONTHDAY=-1",
            "FREQ=YEARLY;BYDAY=20MO;BYHOUR=9",
            "FREQ=YEARLY;BYWEEKNO=1,53;BYDAY=MO,SU",
            "FREQ=YEARLY;BYDAY=MO,TU;BYSETPOS=1,-1",
            "FREQ=MONTHLY",
            "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=1,23",
            "FREQ=MONTHLY;BYMONTHDAY=1,31",
        ]
    ),
    interval=st.sampled_from([1, 2, 3, 5, 12]),
    start=st.datetimes(datetime(1970, 1, 1), datetime(2025, 12, 31)).map(lambda at: at.replace(microsecond=0)),
    day=st.sampled_from([None, (2, 29), (1, 31), (12, 31)]),
    after=st.datetimes(datetime(1969, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),
)
def test_months_and_years_keep_their_phase(
    rule: str, interval: int, start: datetime, day: tuple[int, int] | None, after: datetime
) -> None:
    if day is not None:
        start = start.replace(year=max(start.year // 4 * 4, 1972), month=day[0], day=day[1])
    text = f"{rule};INTERVAL={interval}"
    counted = Timing(anchor=after, rrule=f"DTSTART:{start:%Y%m%dT%H%M%S}\nRRULE:{text}")
    every = rules.rrulestr(text, dtstart=start)
    expected = [at.replace(tzinfo=UTC) for at in islice(every.xafter(after.replace(tzinfo=None)), 5)]
    assert list(islice(timing.upcoming(counted, after), len(expected))) == expected


def test_an_old_start_costs_no_more_than_a_new_one() -> None:
    now, days, hours = datetime(2026, 5, 1, tzinfo=UTC), ",".join(map(str, range(1, 32))), ",".join(map(str, range(24)))
    rule = f"DTSTART:19700101T000000\nRRULE:FREQ=YEARLY;BYMONTHDAY={days};BYHOUR={hours}"
    began = time.process_time()
    found = list(islice(timing.upcoming(Timing(anchor=now, rrule=rule), now), 50))
    assert found == [now + timedelta(hours=number) for number in range(1, 51)]
    assert time.process_time() - began < 4  # counted from 1970 each takes 0.3 s and more


@settings(max_examples=100)
@given(
    seconds=st.integers(1, 10**7), after=st.integers(-(10**9), 10**9), parts=st.sampled_from(["", "ms", "s"])
)
def test_an_interval_is_elapsed_time_from_its_anchor(seconds: int, after: int, parts: str) -> None:
    anchor = datetime(2026, 1, 1, tzinfo=UTC)
    interval = {"": seconds, "s": f"{seconds}s", "ms": f"{seconds * 1000}ms"}[parts]
    counted = Timing(anchor=anchor, interval=interval, timezone="Europe/Berlin")
    start = anchor + timedelta(seconds=after)
    found = timing.next_after(counted, start)
    assert found is not None
    assert start < found <= start + timedelta(seconds=seconds)
    assert (found - anchor) % timedelta(seconds=seconds) == timedelta()


def test_a_time_that_the_clocks_jump_over_fires_once_and_so_does_a_doubled_one() -> None:
    anchor = datetime(2026, 1, 1, tzinfo=UTC)
    for fields in ({"cron": "30 2 * * *"}, {"rrule": "FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0"}):
        counted = Timing(anchor=anchor, timezone="Europe/Berlin", **fields)
        spring = list(islice(timing.upcoming(counted, datetime(2026, 3, 28, 12, tzinfo=UTC)), 2))
        autumn = list(islice(timing.upcoming(counted, datetime(2026, 10, 24, 12, tzinfo=UTC)), 2))
        jumped = 1 if "cron" in fields else 1.5  # cron: as soon as the clocks have jumped; RFC 5545: as before it
        assert spring[0] == datetime(2026, 3, 29, tzinfo=UTC) + timedelta(hours=jumped)
        assert spring[1] == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)
        assert autumn == [datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 26, 1, 30, tzinfo=UTC)]


def test_hours_by_a_star_follow_elapsed_time() -> None:
    counted = Timing(anchor=datetime(2026, 1, 1, tzinfo=UTC), cron="@hourly", timezone="Europe/Berlin")
    start = datetime(2026, 10, 24, 22, 30, tzinfo=UTC)
    found = list(islice(timing.upcoming(counted, start), 4))
    assert found == [datetime(2026, 10, 24, 23, tzinfo=UTC) + timedelta(hours=n) for n in range(4)]


@pytest.mark.parametrize("alias", cron.ALIASES)
def test_an_alias_is_five_fields(alias: str) -> None:
    assert cron.problem(alias) is None
    assert len(cron.expression(alias.upper()).split()) == 5


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({}, "/cron", "MISSING_FIELD"),
        ({"cron": "* * * * *", "interval": "1m"}, "/interval", "INVALID_VALUE"),
        ({"cron": "* * * *"}, "/cron", "INVALID_CRON"),
        ({"cron": "0 * * * * *"}, "/cron", "INVALID_CRON"),
        ({"cron": "61 * * * *"}, "/cron", "INVALID_CRON"),
        ({"cron": "0 0 30 2 *"}, "/cron", "INVALID_CRON"),
        ({"cron": "@reboot"}, "/cron", "INVALID_CRON"),
        ({"cron": "1,,2 * * * *"}, "/cron", "INVALID_CRON"),
        ({"interval": "soon"}, "/interval", "INVALID_DURATION"),
        ({"interval": "250ms"}, "/interval", "INVALID_DURATION"),
        ({"interval": True}, "/interval", "INVALID_DURATION"),
        ({"rrule": "FREQ=SECONDLY"}, "/rrule", "INVALID_VALUE"),
        ({"rrule": "FREQ=DAILY;FREQ=DAILY"}, "/rrule", "INVALID_VALUE"),
        ({"rrule": "FREQ=DAILY;COUNT=2;UNTIL=20300101"}, "/rrule", "INVALID_VALUE"),
        ({"rrule": "FREQ=DAILY;COUNT=2000"}, "/rrule", "INVALID_VALUE"),
        ({"rrule": "FREQ=DAILY;BYHOUR=25"}, "/rrule", "INVALID_VALUE"),
        ({"rrule": "FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=30"}, "/rrule", "INVALID_VALUE"),
        ({"rrule": "FREQ=DAILY;UNTIL=20200101T000000Z"}, "/rrule", "INVALID_VALUE"),
        ({"rrule": "RRULE:FREQ=DAILY\nEXDATE:20260101T000000"}, "/rrule", "INVALID_VALUE"),
        ({"rrule": "DTSTART:19691231T000000\nRRULE:FREQ=DAILY"}, "/rrule", "INVALID_VALUE"),
        ({"rrule": "DTSTART;TZID=Asia/Tokyo:20260101T000000\nRRULE:FREQ=DAILY"}, "/rrule", "INVALID_VALUE"),
        ({"cron": "@daily", "timezone": "Europe/Atlantis"}, "/timezone", "INVALID_VALUE"),
        ({"cron": "@daily", "timezone": "../../etc/passwd"}, "/timezone", "INVALID_VALUE"),
        ({"cron": "@daily", "timezone": ""}, "/timezone", "INVALID_VALUE"),
    ],
)
def test_what_is_refused(fields: dict[str, object], pointer: str, code: str) -> None:
    refused = timing.problems(Timing(anchor=datetime(2026, 1, 1, tzinfo=UTC), **fields))  # type: ignore[arg-type]
    assert [(problem.pointer, problem.code) for problem in refused] == [(pointer, code)]


@given(st.text(alphabet="0123456789*/-,#LWSUNMON ? @:;=TZ", max_size=30))
def test_any_text_is_a_problem_or_fires(text: str) -> None:
    anchor = datetime(2026, 1, 1, tzinfo=UTC)
    for field in ("cron", "rrule"):
        counted = Timing(anchor=anchor, **{field: text})
        if not timing.problems(counted):
            assert timing.next_after(counted, anchor) is not None


def test_a_rule_takes_its_start_from_dtstart() -> None:
    anchor = datetime(2026, 5, 1, tzinfo=UTC)
    rule = "DTSTART;TZID=Europe/Berlin:20260106T093000\nRRULE:FREQ=WEEKLY;INTERVAL=2"
    counted = Timing(anchor=anchor, rrule=rule, timezone="Europe/Berlin")
    assert timing.next_after(counted, anchor) == datetime(2026, 5, 12, 7, 30, tzinfo=UTC)
    utc = Timing(anchor=anchor, rrule="DTSTART:20260106T093000Z\nRRULE:FREQ=DAILY", timezone="Asia/Kolkata")
    assert timing.next_after(utc, anchor) == datetime(2026, 5, 1, 9, 30, tzinfo=UTC)


def test_a_rule_without_a_start_falls_on_whole_hours_and_counts_from_now() -> None:
    anchor = datetime(2026, 5, 1, 12, 34, 56, tzinfo=UTC)
    daily = Timing(anchor=anchor, rrule="FREQ=DAILY;BYHOUR=9", timezone="Europe/Berlin")
    assert timing.next_after(daily, anchor) == datetime(2026, 5, 2, 7, tzinfo=UTC)
    counted = Timing(anchor=anchor, rrule="FREQ=MINUTELY;INTERVAL=15;COUNT=2")
    assert [at.strftime("%H:%M:%S") for at in timing.upcoming(counted, anchor)] == ["12:45:00", "13:00:00"]


def test_a_start_and_an_end_bound_the_times() -> None:
    anchor = datetime(2026, 1, 1, tzinfo=UTC)
    start, end = anchor + timedelta(days=2), anchor + timedelta(days=4)
    counted = Timing(anchor=anchor, cron="@daily", starts_at=start, ends_at=end)
    assert list(timing.upcoming(counted, anchor)) == [start, start + timedelta(days=1), end]


def test_the_end_of_calendars_is_an_end() -> None:
    late = datetime(9999, 12, 31, 23, tzinfo=UTC)
    for fields in ({"cron": "@daily"}, {"cron": "0 2 * * *"}, {"interval": "7d"}, {"rrule": "FREQ=DAILY"}):
        assert timing.next_after(Timing(anchor=late, timezone="Asia/Kolkata", **fields), late) is None


@given(st.integers(0, 10**6), st.floats(0, 86_400))
def test_jitter_is_below_its_most_and_the_same_again(minute: int, most: float) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC) + MINUTE * minute
    late = timing.jitter("a", at, most)
    assert timedelta() <= late <= timedelta(seconds=most + 0.001)
    assert late == timing.jitter("a", at.astimezone(ZoneInfo("Asia/Kolkata")), most)
