"""Webhooks and their deliveries, sent and answered. A secret is answered once, when it is made."""

from marshmallow import fields
from marshmallow.validate import Length, OneOf

from api.schemas.common import PageQuery, listed, moment
from api.schemas.fields import Body, Boolean, Integer, QueryMoment, Text
from models.states import DeliveryStatus

_STATUS = OneOf([status.value for status in DeliveryStatus])
_ATTEMPT = OneOf(["delivered", "failed", "lost"])
_DAY = 86_400


def _events(*, required: bool = False) -> fields.List[str]:
    about = {"description": "types such as step.failed, run.* or *"}
    return fields.List(Text(least=1, most=64), validate=Length(1, 50), metadata=about, required=required)


def _secret() -> Text:
    about = {"writeOnly": True, "description": "whsec_ and 24 to 64 bytes in base64; made where none is given"}
    return Text(least=1, most=200, metadata=about)


class WebhookBody(Body):
    """A webhook to make."""

    url = Text(least=1, most=2_048, required=True)
    events = _events(required=True)
    description = Text(load_default="")
    secret = _secret()


class WebhookPatch(Body):
    """What is to be different."""

    url = Text(least=1, most=2_048)
    events = _events()
    description = Text()
    enabled = Boolean()


class RotateSecretBody(Body):
    """How long the secret before signs beside the new one."""

    grace_seconds = Integer(high=7 * _DAY, load_default=_DAY)
    secret = _secret()


class ReplayMissingBody(Body):
    """Of events since when."""

    since = QueryMoment(required=True)


class Webhook(Body):
    id = fields.String(required=True)
    url = fields.String(required=True)
    events = fields.List(fields.String(), required=True)
    description = fields.String(required=True)
    enabled = fields.Boolean(required=True)
    disabled_at = moment(allow_none=True)
    disabled_reason = fields.String(required=True, allow_none=True)
    failures = fields.Integer(required=True)
    failing_since = moment(allow_none=True)
    last_success_at = moment(allow_none=True)
    last_failure_at = moment(allow_none=True)
    error = fields.String(required=True, allow_none=True)
    previous_secret_until = moment(allow_none=True)
    created_at = moment()
    updated_at = moment()


class WebhookWithSecret(Webhook):
    """A webhook whose secret is shown this once."""

    secret = fields.String(required=True)


class DeliveryError(Body):
    code = fields.String(required=True)
    message = fields.String(required=True)


class DeliveryRequest(Body):
    headers = fields.Dict(required=True)


class DeliveryResponse(Body):
    status = fields.Integer(required=True)
    headers = fields.Dict(required=True)
    body = fields.String(required=True)


class DeliveryAttempt(Body):
    number = fields.Integer(required=True)
    url = fields.String(required=True)
    status = fields.String(required=True, validate=_ATTEMPT)
    request = fields.Nested(DeliveryRequest, required=True)
    response = fields.Nested(DeliveryResponse, required=True, allow_none=True)
    error = fields.Nested(DeliveryError, required=True, allow_none=True)
    started_at = moment()
    finished_at = moment()
    duration_ms = fields.Integer(required=True)


class Delivery(Body):
    """An event on its way to a webhook; its id is the `webhook-id` that the receiver sees."""

    id = fields.String(required=True)
    webhook_id = fields.String(required=True)
    type = fields.String(required=True)
    run_id = fields.String(required=True, allow_none=True)
    seq = fields.Integer(required=True, allow_none=True)
    status = fields.String(required=True, validate=_STATUS)
    tries = fields.Integer(required=True)
    next_attempt_at = moment(allow_none=True)
    body = fields.String(required=True)
    created_at = moment()
    ended_at = moment(allow_none=True)
    attempts = fields.List(fields.Nested(DeliveryAttempt), required=True)


class DeliveryQuery(PageQuery):
    """Which deliveries."""

    status = fields.String(validate=_STATUS)


class Replayed(Body):
    """Deliveries that are sent again, events that never had one, and whether these are all."""

    replayed = fields.Integer(required=True)
    noted = fields.Integer(required=True)
    complete = fields.Boolean(required=True)


Webhooks = listed(Webhook, "Webhooks")
Deliveries = listed(Delivery, "Deliveries")
