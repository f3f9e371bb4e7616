"""Runs, steps and events as they are answered. Source: spec "http-api"."""

from marshmallow import fields

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
    cost_microcents = fields.Integer(required=True)
    labels = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    parent_run_id = fields.String(required=True, allow_none=True)
    created_at = moment()
    started_at = moment(allow_none=True)
    finished_at = moment(allow_none=True)


class Step(Body):
    """A step; `input` null until its first attempt, `called_run_id` where it calls runs."""

    path = fields.String(required=True)
    node = fields.String(required=True)
    type = fields.String(required=True)
    status = step_status()
    attempts = fields.Integer(required=True)
    route = fields.String(required=True, allow_none=True)
    input = anything()
    output = anything()
    error = fields.Nested(StepError, required=True, allow_none=True)
    agent = fields.String(required=True, allow_none=True)
    model = fields.String(required=True, allow_none=True)
    tokens = fields.Nested(Tokens, required=True, allow_none=True)
    cost_microcents = fields.Integer(required=True)
    waiting_for = fields.String(
        required=True, allow_none=True, metadata={"description": "why it has not begun, or does not go on"}
    )
    called_run_id = fields.String(allow_none=True)
    created_at = moment()
    started_at = moment(allow_none=True)
    finished_at = moment(allow_none=True)


class Attempt(Body):
    """One try at a step."""

    attempt = fields.Integer(required=True)
    status = fields.String(required=True)
    error = fields.Nested(StepError, required=True, allow_none=True)
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


class Run(RunSummary):
    """A run, whole; `outputs` null until it has succeeded, `steps` where they are included."""

    inputs = anything()
    outputs = anything()
    variables = fields.Raw(required=True, metadata={"type": "object"})
    step_counts = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    steps = fields.List(fields.Nested(Step))
    steps_next_cursor = fields.String(allow_none=True)


class Event(Body):
    """One entry of a run's log."""

    seq = fields.Integer(required=True)
    type = fields.String(required=True)
    run_id = fields.String(required=True)
    step = fields.String()
    at = moment()
    actor = fields.String()
    data = fields.Raw(required=True, metadata={"type": "object"})


Runs = listed(RunSummary, "Runs")
Steps = listed(Step, "Steps")
Events = listed(Event, "Events")
