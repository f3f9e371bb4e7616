"""Schedules, sent and answered."""

from datetime import UTC, datetime

from marshmallow import fields
from marshmallow.validate import OneOf, Range

from api.schemas.common import PageQuery, anything, listed, moment
from api.schemas.fields import Body, Integer, Labels, Object, QueryMoment, Text, Variables
from models.states import RunStatus

OVERLAPS = OneOf(["skip", "queue", "allow", "cancel_previous"])
KINDS = OneOf(["planned", "manual", "backfill"])
OUTCOMES = OneOf(["started", "queued", "skipped", "refused"])
_RUN_STATUS = OneOf([status.value for status in RunStatus])
_CATCH_UP = "1d"


class Instant(QueryMoment):
    """An RFC 3339 time with its offset, of a year that calendars can be counted in."""

    def __init__(self, **options: object) -> None:
        years = Range(datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC))
        super().__init__(validate=years, **options)  # type: ignore[arg-type]


class _Timing(Body):
    cron = Text(
        least=1, most=256, allow_none=True, metadata={"description": "five fields, or @daily and the like"}
    )
    interval = fields.Raw(allow_none=True, metadata={"description": "duration: 30s, 5m, 2h, 7d or seconds"})
    rrule = Text(least=1, most=2_000, allow_none=True, metadata={"description": "RFC 5545, with or without DTSTART"})
    starts_at = Instant(allow_none=True)
    ends_at = Instant(allow_none=True)


class ScheduleBody(_Timing):
    """A schedule to make: exactly one of `cron`, `interval` and `rrule`."""

    name = Text(least=1, most=128, required=True)
    workflow = Text(least=1, most=255, required=True, metadata={"description": "id or name"})
    version = Integer(low=1, allow_none=True, metadata={"description": "default: the current one, at each fire"})
    timezone = Text(least=1, most=64, load_default="UTC", metadata={"description": "an IANA name"})
    inputs = Object(load_default=dict)
    variables = Variables(load_default=dict)
    labels = Labels(load_default=dict)
    priority = Integer(low=0, high=9, load_default=0)
    overlap = fields.String(validate=OVERLAPS, load_default="skip")
    catch_up = fields.Raw(load_default=_CATCH_UP, metadata={"description": "duration"})
    jitter = fields.Raw(load_default=0, metadata={"description": "duration, a day at most"})


class SchedulePatch(_Timing):
    """What is to be different; one of `cron`, `interval` and `rrule` takes the place of the others."""

    name = Text(least=1, most=128)
    workflow = Text(least=1, most=255)
    version = Integer(low=1, allow_none=True)
    timezone = Text(least=1, most=64)
    inputs = Object()
    variables = Variables()
    labels = Labels()
    priority = Integer(low=0, high=9)
    overlap = fields.String(validate=OVERLAPS)
    catch_up = fields.Raw()
    jitter = fields.Raw()


class BackfillBody(Body):
    """Fire times of the past to make up: both ends are included."""

    from_ = Instant(required=True, data_key="from")
    to = Instant(required=True)
    max_parallel = Integer(low=1, high=100, load_default=1, metadata={"description": "runs at once"})


class SchedulesQuery(PageQuery):
    workflow = Text(most=255, metadata={"description": "id or name"})


class FiresQuery(PageQuery):
    kind = fields.String(validate=KINDS)
    outcome = fields.String(validate=OUTCOMES)


class FireError(Body):
    """Why a fire has no run."""

    code = fields.String(required=True)
    message = fields.String(required=True)


class Fire(Body):
    """One fire time and what became of it; `run_status` null where there is no run, or it is gone."""

    fire_at = moment()
    kind = fields.String(required=True, validate=KINDS)
    outcome = fields.String(required=True, validate=OUTCOMES)
    run_id = fields.String(required=True, allow_none=True)
    run_status = fields.String(required=True, allow_none=True, validate=_RUN_STATUS)
    error = fields.Nested(FireError, required=True, allow_none=True)
    backfill_id = fields.String(required=True, allow_none=True)
    created_at = moment()


class Backfill(Body):
    """Fire times of the past that are made up, and how many have come to what."""

    id = fields.String(required=True)
    from_ = moment(data_key="from")
    to = moment()
    max_parallel = fields.Integer(required=True)
    total = fields.Integer(required=True)
    queued = fields.Integer(required=True)
    started = fields.Integer(required=True)
    refused = fields.Integer(required=True)
    created_by = fields.String(required=True, allow_none=True)
    created_at = moment()
    finished_at = moment(allow_none=True)


class FireCounts(Body):
    """Fire times by what became of them; `missed`: older than the catch-up window when they were found."""

    started = fields.Integer(required=True)
    skipped = fields.Integer(required=True)
    refused = fields.Integer(required=True)
    missed = fields.Integer(required=True)


class ScheduleSummary(Body):
    id = fields.String(required=True)
    name = fields.String(required=True)
    workflow = fields.String(required=True)
    version = fields.Integer(required=True, allow_none=True)
    cron = fields.String(required=True, allow_none=True)
    interval = anything()
    rrule = fields.String(required=True, allow_none=True)
    timezone = fields.String(required=True)
    starts_at = moment(allow_none=True)
    ends_at = moment(allow_none=True)
    inputs = fields.Dict(required=True)
    variables = fields.Dict(required=True)
    labels = fields.Dict(required=True)
    priority = fields.Integer(required=True)
    overlap = fields.String(required=True, validate=OVERLAPS)
    catch_up = anything()
    jitter = anything()
    paused = fields.Boolean(required=True)
    paused_at = moment(allow_none=True)
    next_fire_at = moment(allow_none=True)
    next_fire_times = fields.List(moment(), required=True)
    last_fire_at = moment(allow_none=True)
    counts = fields.Nested(FireCounts, required=True)
    created_by = fields.String(required=True, allow_none=True)
    created_at = moment()
    updated_at = moment()


class Schedule(ScheduleSummary):
    """A schedule with its latest fires and backfills."""

    recent_fires = fields.List(fields.Nested(Fire), required=True)
    backfills = fields.List(fields.Nested(Backfill), required=True)


Schedules = listed(ScheduleSummary, "Schedules")
Fires = listed(Fire, "Fires")
