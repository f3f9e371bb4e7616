"""Hooks, sent and answered. Secrets are sent, and answered once where they were made."""

from marshmallow import fields
from marshmallow.validate import OneOf

from api.schemas.common import listed, moment
from api.schemas.fields import Body, Object, Text
from orchestrator.core.hooks import NONE, SCHEMES

_REFERENCES = "with {{body…}}, {{headers…}} and {{query…}} in it"


class HookSignal(Body):
    """The signal that a hook sends: to a run, or to whoever waits for (name, key)."""

    name = Text(least=1, most=255, required=True)
    run = Text(least=1, most=2_000, metadata={"description": _REFERENCES})
    key = Text(least=1, most=2_000, metadata={"description": _REFERENCES})


class _HookFields(Body):
    workflow = Text(least=1, most=255, allow_none=True, metadata={"description": "id or name"})
    signal = fields.Nested(HookSignal, allow_none=True)
    secret = Text(least=1, most=500, metadata={"writeOnly": True})
    mapping = Object(allow_none=True, metadata={"description": f"the inputs or data, {_REFERENCES}"})
    dedup = Text(least=1, most=2_000, allow_none=True, metadata={"description": f"the sender's number, {_REFERENCES}"})


class HookBody(_HookFields):
    """A hook to make: it starts a workflow or sends a signal."""

    name = Text(least=1, most=255, required=True)
    scheme = Text(validate=[OneOf(SCHEMES)], load_default=NONE)


class HookPatch(_HookFields):
    """What is to be different."""

    name = Text(least=1, most=255)
    scheme = Text(validate=[OneOf(SCHEMES)])


class Hook(Body):
    """`url` is null for keys without the scope admin."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    workflow = fields.String(required=True, allow_none=True)
    signal = fields.Nested(HookSignal, required=True, allow_none=True)
    scheme = fields.String(required=True, validate=OneOf(SCHEMES))
    has_secret = fields.Boolean(required=True)
    mapping = fields.Dict(required=True, allow_none=True)
    dedup = fields.String(required=True, allow_none=True)
    url = fields.String(required=True, allow_none=True)
    created_at = moment()
    updated_at = moment()


class WrittenHook(Hook):
    """`secret` where one was made, this once."""

    secret = fields.String(required=True, allow_none=True)


class HookTaken(Body):
    """The run that was started, or that took the signal: none where the signal is kept."""

    id = fields.String(required=True, allow_none=True)
    status = fields.String(required=True, allow_none=True)
    workflow = fields.String(required=True, allow_none=True)
    signal = fields.String(required=True, allow_none=True)


Hooks = listed(Hook, "Hooks")
