"""Approvals, links to them, and signals: sent and answered."""

from marshmallow import fields
from marshmallow.validate import OneOf

from api.schemas.common import PageQuery, anything, listed, moment
from api.schemas.fields import Body, Text
from models.queries.approvals import STATUSES
from orchestrator.core.people import OnExpiry, Verdict

_VERDICTS = OneOf([verdict.value for verdict in Verdict])
_ON_EXPIRY = OneOf([word.value for word in OnExpiry])
_SCHEMA = {"description": "JSON Schema of the data that comes with a vote"}


class ApprovalsQuery(PageQuery):
    """Which approvals."""

    status = fields.String(
        validate=OneOf([*STATUSES, "all"]),
        load_default="pending",
        metadata={"description": "default: pending, those that are open"},
    )
    run = Text(most=255, metadata={"description": "id of the run that waits"})
    assignee = Text(most=255, metadata={"description": "a name among those who are asked"})


class VoteBody(Body):
    """What comes with a vote; the approval's form checks `data`."""

    comment = Text(most=4_000, load_default=None, allow_none=True)
    data = fields.Raw(load_default=None, allow_none=True)


class LinkBody(Body):
    """Whom a link is for."""

    name = Text(least=1, most=200, required=True, metadata={"description": "stands in `by` of the decision"})


class SignalBody(Body):
    """A signal; of those with the same `id` the first counts."""

    signal = Text(least=1, most=255, required=True)
    data = fields.Raw(load_default=None, allow_none=True)
    id = Text(least=1, most=255, load_default=None, allow_none=True)


class KeyedSignalBody(SignalBody):
    """A signal to whoever waits for it under a key."""

    key = Text(least=1, most=1_000, required=True)


class ApprovalVote(Body):
    by = fields.String(required=True)
    decision = fields.String(required=True, validate=_VERDICTS)
    comment = fields.String(required=True, allow_none=True)
    data = anything()
    at = moment()


class Approval(Body):
    """An approval with its votes; `decision` null while it is open, and where it expired undecided."""

    id = fields.String(required=True)
    run_id = fields.String(required=True)
    workflow = fields.String(required=True)
    step = fields.String(required=True)
    attempt = fields.Integer(required=True)
    title = fields.String(required=True)
    form = anything(metadata=_SCHEMA)
    assignees = fields.List(fields.String(), required=True)
    required = fields.Integer(required=True)
    on_expiry = fields.String(required=True, validate=_ON_EXPIRY)
    status = fields.String(required=True, validate=OneOf(STATUSES))
    decision = fields.String(required=True, allow_none=True, validate=_VERDICTS)
    votes = fields.List(fields.Nested(ApprovalVote), required=True)
    requested_at = moment()
    expires_at = moment(allow_none=True)
    decided_at = moment(allow_none=True)


class ApprovalLink(Body):
    """A link for one vote; its token is shown this once, and lets whoever has it vote."""

    approval_id = fields.String(required=True)
    name = fields.String(required=True)
    expires_at = moment(allow_none=True)
    token = fields.String(required=True)


class LinkedApproval(Body):
    """What the holder of a link is asked; `voted`: the link was used."""

    name = fields.String(required=True)
    voted = fields.Boolean(required=True)
    title = fields.String(required=True)
    form = anything(metadata=_SCHEMA)
    status = fields.String(required=True, validate=OneOf(STATUSES))
    expires_at = moment(allow_none=True)


class LinkedVote(Body):
    """How the approval stands after a vote by a link."""

    status = fields.String(required=True, validate=OneOf(STATUSES))


class SignalReceipt(Body):
    """What became of a signal; `run_id` and `step` null while it is kept for who will wait for it."""

    signal = fields.String(required=True)
    key = fields.String(required=True)
    id = fields.String(required=True, allow_none=True)
    run_id = fields.String(required=True, allow_none=True)
    step = fields.String(required=True, allow_none=True)


Approvals = listed(Approval, "Approvals")
