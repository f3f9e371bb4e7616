"""Runs, steps and events as they are answered. Source: spec "http-api"."""

from marshmallow import fields
from marshmallow.validate import OneOf

from api.schemas.common import anything, listed, moment, run_status, step_status
from api.schemas.fields import Body


class RunError(Body):
    code = fields.String(required=True)
    message = fields.String(required=True)
    step = fields.String(required=True, allow_none=True)


class StepError(Body):
    code = fields.String(required=True)
    message = fields.String(required=True)
    transient = fields.Boolean()
    details = anything()


class Tokens(Body):
    input = fields.Integer(required=True)
    output = fields.Integer(required=True)


class RunSummary(Body):
    """A run in a list."""

    id = fields.String(required=True)
    workflow = fields.String(required=True)
    version = fields.Integer(required=True)
    status = run_status()
    error = fields.Nested(RunError, required=True, allow_none=True)
    degraded = fields.Boolean(
        required=True, metadata={"description": "whether a step of it succeeded by its `degrade`"}
    )
    cost_microcents = fields.Integer(required=True)
    labels = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    parent_run_id = fields.String(required=True, allow_none=True)
    created_at = moment()
    started_at = moment(allow_none=True)
    finished_at = moment(allow_none=True)


class StepCompensation(Body):
    """How the undoing of a step stands; whole as the step `<path>:compensate`."""

    status = step_status()
    attempts = fields.Integer(required=True)
    error = fields.Nested(StepError, required=True, allow_none=True)
    started_at = moment(allow_none=True)
    finished_at = moment(allow_none=True)


class CompensationFailure(Body):
    step = fields.String(required=True)
    code = fields.String(required=True)
    message = fields.String(required=True)


class RunCompensation(Body):
    """What of a run was undone, what could not be, and what is left in the order in which it will be; 1,000 each."""

    status = fields.String(required=True, validate=OneOf(["compensating", "compensated", "failed"]))
    done = fields.List(fields.String(), required=True)
    failed = fields.Nested(CompensationFailure, required=True, allow_none=True)
    remaining = fields.List(fields.String(), required=True)


class Step(Body):
    """A step; `input` null until its first attempt, `called_run_id` where it calls runs, `compensation` where it has
    one, null until that begins."""

    path = fields.String(required=True)
    node = fields.String(required=True)
    type = fields.String(required=True)
    status = step_status()
    attempts = fields.Integer(required=True)
    route = fields.String(required=True, allow_none=True)
    input = anything()
    output = anything()
    error = fields.Nested(StepError, required=True, allow_none=True)
    degraded = fields.Boolean(
        required=True,
        metadata={"description": "whether it failed, and succeeded with what its `degrade` says instead"},
    )
    agent = fields.String(required=True, allow_none=True)
    model = fields.String(required=True, allow_none=True)
    tokens = fields.Nested(Tokens, required=True, allow_none=True)
    cost_microcents = fields.Integer(required=True)
    waiting_for = fields.String(
        required=True, allow_none=True, metadata={"description": "why it has not begun, or does not go on"}
    )
    called_run_id = fields.String(allow_none=True)
    compensation = fields.Nested(StepCompensation, allow_none=True)
    created_at = moment()
    started_at = moment(allow_none=True)
    finished_at = moment(allow_none=True)


class Attempt(Body):
    """One try at a step."""

    attempt = fields.Integer(required=True)
    status = fields.String(required=True)
    error = fields.Nested(StepError, required=True, allow_none=True)
    output = anything(metadata={"description": "null where the output is the step's input, as stored"})
    worker = fields.String(required=True, allow_none=True)
    called_run_id = fields.String(allow_none=True)
    agent = fields.String(required=True, allow_none=True)
    model = fields.String(required=True, allow_none=True)
    tokens = fields.Nested(Tokens, required=True, allow_none=True)
    cost_microcents = fields.Integer(required=True)
    started_at = moment(allow_none=True)
    finished_at = moment(allow_none=True)


class StepWithAttempts(Step):
    """A step and every try at it."""

    attempt_log = fields.List(fields.Nested(Attempt), required=True)


class ForkedFrom(Body):
    """Where a run comes from: a position of another one."""

    run_id = fields.String(required=True)
    seq = fields.Integer(required=True)
    from_step = fields.String()
    checkpoint = fields.String()


class Run(RunSummary):
    """A run, whole; `outputs` null until it has succeeded, `steps` where they are included."""

    forked_from = fields.Nested(ForkedFrom, required=True, allow_none=True)

    inputs = anything()
    outputs = anything()
    variables = fields.Raw(required=True, metadata={"type": "object"})
    step_counts = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    compensation = fields.Nested(RunCompensation, required=True, allow_none=True)
    compensation_failed = fields.Boolean(required=True)
    steps = fields.List(fields.Nested(Step))
    steps_next_cursor = fields.String(allow_none=True)


class Wait(Body):
    """A span in which an attempt was parked; `to` null while it is."""

    from_ = moment(data_key="from")
    to = moment(allow_none=True)
    reason = fields.String(required=True, allow_none=True)


class Span(Body):
    """An attempt in time; `queued_at` null where the step was never in a queue."""

    path = fields.String(required=True)
    node = fields.String(required=True)
    type = fields.String(required=True)
    attempt = fields.Integer(required=True)
    status = fields.String(required=True)
    queued_at = moment(allow_none=True)
    started_at = moment(allow_none=True)
    finished_at = moment(allow_none=True)
    waits = fields.List(fields.Nested(Wait), required=True)
    agent = fields.String(required=True, allow_none=True)
    model = fields.String(required=True, allow_none=True)
    tokens = fields.Nested(Tokens, required=True, allow_none=True)
    cost_microcents = fields.Integer(required=True)


class Event(Body):
    """One entry of a run's log."""

    seq = fields.Integer(required=True)
    type = fields.String(required=True)
    run_id = fields.String(required=True)
    step = fields.String()
    at = moment()
    actor = fields.String()
    data = fields.Raw(required=True, metadata={"type": "object"})


class BulkError(Body):
    code = fields.String(required=True)
    message = fields.String(required=True)


class BulkItem(Body):
    """What became of one run. `done`: the act was carried out; else `error` says why not."""

    id = fields.String(required=True)
    status = run_status()
    done = fields.Boolean(required=True)
    error = fields.Nested(BulkError, required=True, allow_none=True)


BulkItems = listed(BulkItem, "BulkItems")
Runs = listed(RunSummary, "Runs")
Steps = listed(Step, "Steps")
Events = listed(Event, "Events")
Timeline = listed(Span, "Timeline")
