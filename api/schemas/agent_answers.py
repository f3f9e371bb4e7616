"""What an agent sends as its answer, by callback or for work that it claimed."""

from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from api.schemas.fields import BIGGEST, Body, Boolean, Integer, Text
from orchestrator.core.outcome import MOST_COST

_LONGEST = 64 * 1024 * 1024  # the limit on a body comes before it


class AnswerUsage(Body):
    """What the answer took; what is not known is left out."""

    input = Integer(high=BIGGEST, allow_none=True, metadata={"description": "tokens in, cached ones too"})
    output = Integer(high=BIGGEST, allow_none=True, metadata={"description": "tokens out"})
    cached_input = Integer(high=BIGGEST, allow_none=True)
    cost_microcents = Integer(high=MOST_COST, allow_none=True, metadata={"description": "1 cent = 1,000,000"})


class AnswerError(Body):
    """Why there is no answer."""

    message = Text(least=1, most=4_000, required=True)
    code = Text(most=64, metadata={"description": "a class of errors, TOOL_FAILED by default"})
    transient = Boolean(metadata={"description": "whether another try may succeed; as the class by default"})
    details = fields.Raw(allow_none=True)


class AgentAnswer(Body):
    """`text`, `output` or both; or `error`."""

    text = Text(most=_LONGEST)
    output = fields.Raw(metadata={"description": "any JSON; by default the JSON object in the text"})
    usage = fields.Nested(AnswerUsage)
    model = Text(least=1, most=255)
    error = fields.Nested(AnswerError)

    @validates_schema
    def _one_of_both(self, data: dict[str, Any], **_: Any) -> None:
        if "error" in data and ("text" in data or "output" in data):
            raise ValidationError("An answer or an error is sent, not both.", "error")


class AnswerTaken(Body):
    """The answer is the step's."""

    status = fields.String(required=True, metadata={"description": "accepted"})
