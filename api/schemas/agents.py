"""Agents and their work, sent and answered."""

from typing import Any

from marshmallow import fields
from marshmallow.validate import Length, OneOf

from api.schemas.common import PageQuery, listed, moment
from api.schemas.fields import Body, Boolean, Files, Integer, QueryInteger, Text
from models.errors import ErrorCode
from models.states import AgentStatus
from orchestrator.core.outcome import MOST_COST, MOST_TOKENS

_STATUSES = [status.value for status in AgentStatus]
_SAID = [status for status in _STATUSES if status != AgentStatus.OFFLINE]


def _name(**options: Any) -> Text:
    return Text(least=1, most=255, **options)


def _capabilities(**options: Any) -> fields.Field[Any]:
    return fields.List(_name(), validate=Length(0, 200), **options)


def _status(**options: Any) -> fields.Field[Any]:
    return fields.String(validate=OneOf(_SAID), **options)


class _AgentFields(Body):
    level = _name(allow_none=True)
    session_key = Text(least=1, most=1_000, allow_none=True)
    workspace_path = Text(least=1, most=4_096, allow_none=True)
    gateway = _name(allow_none=True, metadata={"description": "id or name; without one the agent pulls"})
    max_concurrent = Integer(low=1, allow_none=True, metadata={"description": "of our steps at once"})
    rate_limit = Integer(low=1, allow_none=True, metadata={"description": "steps begun a minute"})
    files = Files(allow_none=True, metadata={"description": "workspace files by name: templates"})
    heartbeat = Boolean(metadata={"description": "false: it sends none, its gateway tells of it"})


class RegisterBody(_AgentFields):
    """An agent that enrols, or is known and comes back."""

    name = _name(required=True)
    role = _name(required=True)
    capabilities = _capabilities(required=True)


class AgentPatch(_AgentFields):
    """What is to be different."""

    role = _name(allow_none=True)
    capabilities = _capabilities()
    status = _status()


class HeartbeatBody(Body):
    """What an agent says of itself."""

    status = _status()
    queued_task_count = Integer()


class RotateBody(Body):
    grace_seconds = Integer(high=300, load_default=60, metadata={"description": "how long other keys work on"})


class AgentsQuery(PageQuery):
    """Which agents."""

    status = fields.String(validate=OneOf(_STATUSES))
    role = Text(most=255)
    capability = Text(most=255)
    gateway = Text(most=255, metadata={"description": "id or name"})


class Registered(Body):
    """`api_key` is shown this once, and null for an agent that is known."""

    agent_id = fields.String(required=True)
    api_key = fields.String(required=True, allow_none=True)
    is_new = fields.Boolean(required=True)


class Rotated(Body):
    """The new key, shown this once, and how long the others work."""

    agent_id = fields.String(required=True)
    api_key = fields.String(required=True)
    grace_until = moment()


class AgentSummary(Body):
    """An agent in a list; `gateway` is its name, `load` the live steps that it works on."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    role = fields.String(required=True, allow_none=True)
    level = fields.String(required=True, allow_none=True)
    status = fields.String(required=True, validate=OneOf(_STATUSES))
    session_key = fields.String(required=True, allow_none=True)
    capabilities = fields.List(fields.String(), required=True)
    workspace_path = fields.String(required=True, allow_none=True)
    gateway = fields.String(required=True, allow_none=True)
    max_concurrent = fields.Integer(required=True, allow_none=True)
    rate_limit = fields.Integer(required=True, allow_none=True)
    heartbeat = fields.Boolean(required=True)
    load = fields.Integer(required=True)  # type: ignore[assignment]  # marshmallow keeps fields apart
    queued_task_count = fields.Integer(required=True)
    heartbeat_at = moment()
    created_at = moment()
    updated_at = moment()


class Agent(AgentSummary):
    """An agent with its workspace files."""

    files = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


class WorkQuery(Body):
    wait = QueryInteger(low=0, high=30, metadata={"description": "seconds to hold the answer for work"})


class WorkTask(Body):
    title = fields.String(required=True)
    description = fields.String(required=True)
    priority = fields.String(required=True, allow_none=True)
    tags = fields.List(fields.String(), required=True)


class WorkStep(Body):
    """The step that an agent has claimed."""

    run_id = fields.String(required=True)
    workflow = fields.String(required=True)
    path = fields.String(required=True)
    node = fields.String(required=True)
    attempt = fields.Integer(required=True)
    idempotency_key = fields.String(required=True)
    task = fields.Nested(WorkTask, required=True)


class Lease(Body):
    """How long work stays the agent's without a word."""

    lease_until = moment()
    lease_seconds = fields.Integer(required=True)


class Work(Lease):
    """Claimed work; the lease is known by its token."""

    step = fields.Nested(WorkStep, required=True)
    input = fields.Raw(required=True, metadata={"type": "object"})
    lease_token = fields.String(required=True)


class UsageBody(Body):
    input = Integer(high=MOST_TOKENS)
    output = Integer(high=MOST_TOKENS)
    cached_input = Integer(high=MOST_TOKENS)
    cost_microcents = Integer(high=MOST_COST)


class _Ending(Body):
    usage = fields.Nested(UsageBody)
    model = _name()


class CompleteBody(_Ending):
    """What came of the work: text, output or both."""

    text = fields.String()
    output = fields.Raw(allow_none=True)


class WorkErrorBody(Body):
    message = Text(least=1, most=10_000, required=True)
    code = fields.String(validate=OneOf([code.value for code in ErrorCode]))
    transient = Boolean()
    details = fields.Raw(allow_none=True)


class FailBody(_Ending):
    """Why the work failed."""

    error = fields.Nested(WorkErrorBody, required=True)


class EndedWork(Body):
    """The step as the end of its work left it."""

    run_id = fields.String(required=True)
    path = fields.String(required=True)
    attempt = fields.Integer(required=True)
    status = fields.String(required=True)


Agents = listed(AgentSummary, "Agents")
