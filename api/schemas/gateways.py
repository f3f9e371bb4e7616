"""Gateways, sent and answered. Tokens are sent alone."""

from marshmallow import fields
from marshmallow.validate import OneOf

from api.schemas.common import listed, moment
from api.schemas.fields import Body, Boolean, Text
from models.states import GatewayStatus

_STATUS = OneOf([status.value for status in GatewayStatus])


class _GatewayFields(Body):
    url = Text(least=1, most=2_048, allow_none=True)
    token = Text(least=1, most=8_192, allow_none=True, metadata={"writeOnly": True})


class GatewayBody(_GatewayFields):
    """A gateway to make."""

    name = Text(least=1, most=255, required=True)
    kind = Text(least=1, most=64, load_default="openclaw")
    default = Boolean(load_default=False, metadata={"description": "takes the agents that are not registered"})


class GatewayPatch(_GatewayFields):
    """What is to be different."""

    name = Text(least=1, most=255)
    default = Boolean()


class Gateway(Body):
    id = fields.String(required=True)
    name = fields.String(required=True)
    kind = fields.String(required=True)
    url = fields.String(required=True, allow_none=True)
    has_token = fields.Boolean(required=True)
    default = fields.Boolean(required=True)
    status = fields.String(required=True, validate=_STATUS)
    error = fields.String(required=True, allow_none=True)
    version = fields.String(required=True, allow_none=True)
    checked_at = moment(allow_none=True)
    created_at = moment()
    updated_at = moment()


class Pinged(Body):
    """What a ping found this once; `agents` null where the gateway lists none."""

    status = fields.String(required=True, validate=OneOf(["healthy", "unhealthy"]))
    latency_ms = fields.Integer(required=True, allow_none=True)
    version = fields.String(required=True, allow_none=True)
    agents = fields.List(fields.String(), required=True, allow_none=True)
    error = fields.String()


Gateways = listed(Gateway, "Gateways")
