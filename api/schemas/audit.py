"""The audit log, asked for and answered."""

from marshmallow import ValidationError, fields, validates_schema
from marshmallow.validate import OneOf

from api.schemas.common import PageQuery, anything, listed, moment
from api.schemas.fields import Body, QueryMoment, Text
from orchestrator.services.audit_views import FORMATS

_PREFIX = "whole, or its beginning and a *"


class AuditQuery(PageQuery):
    """Which acts; `format` gives all of them at once."""

    actor = Text(least=1, most=255, metadata={"description": "name or id of the key"})
    action = Text(least=1, most=64, metadata={"description": _PREFIX})
    target = Text(least=1, most=2_000, metadata={"description": _PREFIX})
    after = QueryMoment(metadata={"description": "at that time or later"})
    before = QueryMoment(metadata={"description": "earlier than that"})
    format = Text(validate=[OneOf(FORMATS)], metadata={"description": f"{' or '.join(FORMATS)}: export"})

    @validates_schema
    def _whole(self, data: dict[str, object], **_: object) -> None:
        for name in ("limit", "cursor"):
            if "format" in data and name in data:
                raise ValidationError("An export has no pages; leave it out, or format.", name)


class AuditChange(Body):
    field = fields.String(required=True)
    from_ = anything(data_key="from")
    to = anything()


class Seal(Body):
    position = fields.Integer(required=True)
    digest = fields.String(required=True)
    previous = fields.String(required=True)


class Act(Body):
    id = fields.String(required=True)
    workspace_id = fields.String(required=True)
    at = moment()
    actor_id = fields.String(required=True)
    actor = fields.String(required=True)
    source = fields.String(required=True, allow_none=True)
    action = fields.String(required=True)
    target = fields.String(required=True)
    reason = fields.String(required=True, allow_none=True)
    before = fields.String(required=True, allow_none=True)
    after = fields.String(required=True, allow_none=True)
    changes = fields.List(fields.Nested(AuditChange), required=True)
    seal = fields.Nested(Seal, required=True, allow_none=True)


Acts = listed(Act, "Acts")
