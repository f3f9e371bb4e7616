"""Checkpoints and forks, as they are sent and answered."""

from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from api.schemas.common import ReasonBody, listed, moment, step_status
from api.schemas.fields import Body, Integer, Object, Text, Variables
from api.schemas.workflows import Diff

_PLACES = ("from_step", "checkpoint", "seq")


class CheckpointBody(ReasonBody):
    """A name for the present position of a run."""

    name = Text(required=True, least=1, most=64)


class Checkpoint(Body):
    """A position: the state after event `seq`. `automatic`: nobody named it."""

    name = fields.String(required=True)
    seq = fields.Integer(required=True)
    automatic = fields.Boolean(required=True)
    at = moment()
    actor = fields.String(required=True, allow_none=True)
    reason = fields.String(required=True, allow_none=True)


class ForkBody(ReasonBody):
    """Where to fork: a step, a checkpoint or an event; and what is different."""

    from_step = Text(least=1, load_default=None, metadata={"description": "it and all behind it is done again"})
    checkpoint = Text(least=1, most=255, load_default=None, metadata={"description": "its name"})
    seq = Integer(low=1, load_default=None, metadata={"description": "number of an event"})
    inputs = Object(load_default=None, metadata={"description": "laid over the origin's, whole keys"})
    variables = Variables(load_default=None, metadata={"description": "laid over those that stood then"})

    @validates_schema
    def _check_place(self, data: Any, **_: Any) -> None:
        given = [name for name in _PLACES if data.get(name) is not None]
        if len(given) != 1:
            said = " and ".join(given) or "none"
            raise ValidationError(
                f"Give just one of from_step, checkpoint and seq; {said} is given.", given[-1] if given else "from_step"
            )


class CompareQuery(Body):
    from_ = Text(
        required=True, data_key="from", least=1, metadata={"description": "a checkpoint's name, or an event's number"}
    )
    to = Text(required=True, least=1, metadata={"description": "as from"})


class Place(Body):
    """A position as it was asked for, and by number."""

    name = fields.String(required=True)
    seq = fields.Integer(required=True)


class StandingStep(Body):
    """A step at a position."""

    status = step_status()
    attempt = fields.Integer(required=True)


class ComparedOutput(Body):
    from_ = fields.Raw(required=True, allow_none=True, data_key="from")
    to = fields.Raw(required=True, allow_none=True)


class ComparedStep(Body):
    """A step that stands otherwise; null where it was not there. `output` where it differs too."""

    path = fields.String(required=True)
    from_ = fields.Nested(StandingStep, required=True, allow_none=True, data_key="from")
    to = fields.Nested(StandingStep, required=True, allow_none=True)
    output = fields.Nested(ComparedOutput)


class Comparison(Body):
    """What differs between two positions of a run."""

    from_ = fields.Nested(Place, required=True, data_key="from")
    to = fields.Nested(Place, required=True)
    steps = fields.List(fields.Nested(ComparedStep), required=True)
    variables = fields.Nested(Diff, required=True)


Checkpoints = listed(Checkpoint, "Checkpoints")
