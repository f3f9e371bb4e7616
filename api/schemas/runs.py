"""What is sent to start, find and control runs."""

from typing import Any

from marshmallow import ValidationError, fields, validates_schema
from marshmallow.validate import OneOf

from api.schemas.common import PageQuery, ReasonBody
from api.schemas.fields import (
    Body,
    Boolean,
    Condition,
    Duration,
    Each,
    Integer,
    Labels,
    Number,
    Object,
    QueryInteger,
    QueryLabel,
    QueryMoment,
    Text,
    Variables,
)
from models.errors import NEVER_RETRIED, ErrorCode
from models.states import RunStatus

_CODES = OneOf([code.value for code in ErrorCode])
_RETRIED = OneOf([code.value for code in ErrorCode if code not in NEVER_RETRIED])


class BudgetBody(Body):
    limit_cents = Integer(required=True)
    on_exceeded = fields.String(validate=OneOf(["abort", "pause"]))


class RaiseBody(Body):
    limit_cents = Integer(required=True)


class RetryBody(Body):
    """A retry policy, laid over the definition's."""

    max_attempts = Integer(low=1, high=1_000)
    backoff = fields.String(validate=OneOf(["exponential", "linear", "constant"]))
    initial = Duration()
    multiplier = Number(low=1, high=1_000)
    max = Duration()
    jitter = Number(low=0, high=1)
    retry_on = fields.List(fields.String(validate=_RETRIED))
    not_on = fields.List(fields.String(validate=_CODES))
    policy = fields.String(
        validate=OneOf(["always", "on_failure", "on_error", "on_transient_error", "never"])
    )
    condition = Condition(most=4_096)

    @validates_schema
    def _check_longest(self, data: Any, **_: Any) -> None:
        if data.get("max", float("inf")) < data.get("initial", 0.0):
            raise ValidationError("max is shorter than initial; make max the longer of the two.", "max")


class StepOverrides(Body):
    """What is different for one step."""

    retry = fields.Nested(RetryBody)
    timeout = Duration(zero=False)


class Overrides(StepOverrides):
    """What is different for this run: for all steps, and for steps by node id."""

    nodes = Each(StepOverrides)


class TriggerBody(Body):
    """What a run is started with."""

    inputs = Object(load_default=dict)
    variables = Variables(load_default=dict)
    budget = fields.Nested(BudgetBody, load_default=None)
    overrides = fields.Nested(Overrides, load_default=None)
    priority = Integer(low=0, high=9, load_default=0, metadata={"description": "higher goes first"})
    version = Integer(low=1, load_default=None, metadata={"description": "default: the current one"})
    labels = Labels(load_default=dict)


class TriggerQuery(Body):
    wait = QueryInteger(low=0, high=300, metadata={"description": "seconds to hold the answer for the end"})


class RunsQuery(PageQuery):
    """Which runs."""

    workflow = Text(most=255, metadata={"description": "id or name"})
    status = fields.String(validate=OneOf([status.value for status in RunStatus]))
    label = fields.List(QueryLabel(metadata={"description": "key:value"}))
    created_after = QueryMoment()
    created_before = QueryMoment()
    parent = Text(most=255, metadata={"description": "id of the run that started it"})


class RunQuery(Body):
    include = fields.String(validate=OneOf(["steps"]))


class EventsQuery(PageQuery):
    after = QueryInteger(load_default=0, metadata={"description": "number of the last event that is known"})


class StreamQuery(Body):
    after = QueryInteger(metadata={"description": "as Last-Event-ID, which goes first"})


class ResumeBody(Body):
    """How a paused run goes on."""

    input = Object(load_default=None, allow_none=True)
    budget = fields.Nested(RaiseBody, load_default=None)


class AbortBody(ReasonBody):
    """Why a run is aborted. `compensate`: what it has done is undone then."""

    compensate = Boolean(load_default=False)


class ReopenBody(ReasonBody):
    """Why an operator acts on a step. `budget`: a new limit, for a run that this lets go on."""

    budget = fields.Nested(RaiseBody, load_default=None)


class CompleteBody(ReopenBody):
    """What a step that is completed by hand gives."""

    output = fields.Raw(required=True, allow_none=True)


class OverrideBody(ReasonBody):
    """What holds for the next attempts of a step, laid over what held before."""

    retry = fields.Nested(RetryBody)
    timeout = Duration(zero=False)

    @validates_schema
    def _check_given(self, data: Any, **_: Any) -> None:
        if "retry" not in data and "timeout" not in data:
            raise ValidationError("Nothing is overridden; give timeout, retry or both.", "timeout")


class VariablesBody(ReasonBody):
    """Variables of a run, by key."""

    set = Variables(required=True)


class BulkFilter(Body):
    """Which runs, as `GET /api/runs` takes it; at least one criterion."""

    workflow = Text(most=255)
    status = fields.String(validate=OneOf([status.value for status in RunStatus]))
    label = fields.List(QueryLabel())
    created_after = QueryMoment()
    created_before = QueryMoment()
    parent = Text(most=255)

    @validates_schema
    def _check_given(self, data: Any, **_: Any) -> None:
        if not data:
            raise ValidationError("The filter is empty; name at least one criterion.", "status")


class BulkBody(ReasonBody):
    """One act on all runs that fit a filter."""

    action = fields.String(required=True, validate=OneOf(["abort", "retry", "pause", "resume"]))
    filter = fields.Nested(BulkFilter, required=True)
    limit = Integer(low=1, high=1_000, load_default=200, metadata={"description": "runs a call"})
    cursor = Text(most=1_000, load_default=None, metadata={"description": "next_cursor of the call before"})
