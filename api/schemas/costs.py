"""Prices and costs as they are sent and answered."""

from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, fields

from api.schemas.common import PageQuery, listed, moment
from api.schemas.fields import Body, QueryLabel, QueryMoment, Text
from api.schemas.run_answers import Tokens

GROUPS = ("workflow", "node", "agent", "model", "day")
MOST_CENTS = 100_000_000


class CentsPerMillion(fields.Float):
    """A number of cents with at most 6 decimals; an integer of micro-cents once loaded."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            metadata={"description": "cents for a million tokens, at most 6 decimals"}, **options
        )

    def _validated(self, value: Any) -> Any:
        if type(value) not in (int, float):
            raise self.make_error("invalid", input=value)
        microcents = Decimal(str(value)) * 1_000_000
        if not 0 <= microcents <= MOST_CENTS * 1_000_000:
            raise ValidationError(f"Must be 0 to {MOST_CENTS} cents.")
        if microcents != int(microcents):
            raise ValidationError("Has more than 6 decimals.")
        return int(microcents)


class PriceBody(Body):
    """What a million tokens of a model cost."""

    input_cents_per_million = CentsPerMillion(required=True)
    output_cents_per_million = CentsPerMillion(required=True)
    cached_input_cents_per_million = CentsPerMillion(load_default=None, allow_none=True)


class Price(Body):
    """What a million tokens of a model cost; cached input as other input where it is null."""

    model = fields.String(required=True)
    input_cents_per_million = fields.Float(required=True)
    output_cents_per_million = fields.Float(required=True)
    cached_input_cents_per_million = fields.Float(required=True, allow_none=True)
    updated_at = moment()


class GroupBy(fields.String):
    """Names of keys, separated by commas; a tuple once loaded."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> Any:  # noqa: ARG002
        names = tuple(value.split(","))
        if len(set(names)) != len(names) or not set(names) <= set(GROUPS):
            raise ValidationError(f"Must be some of {', '.join(GROUPS)}, each once, separated by commas.")
        return names


class CostsQuery(PageQuery):
    """What is summed: the attempts of these runs."""

    group_by = GroupBy(
        load_default=("workflow",), metadata={"description": f"some of {', '.join(GROUPS)}, by commas"}
    )
    workflow = Text(most=255, metadata={"description": "id or name"})
    run = Text(most=255, metadata={"description": "id of a run: it and all that it called and waited for"})
    label = fields.List(QueryLabel(metadata={"description": "key:value"}))
    created_after = QueryMoment()
    created_before = QueryMoment()


class CostTotal(Body):
    """What attempts cost, all together."""

    cost_microcents = fields.Integer(required=True)
    tokens = fields.Nested(Tokens, required=True)
    attempts = fields.Integer(required=True)
    runs = fields.Integer(required=True)


class Cost(CostTotal):
    """What attempts cost that have the keys asked for in common; `day` is that of their start, in UTC."""

    workflow = fields.String()
    node = fields.String()
    agent = fields.String(allow_none=True)
    model = fields.String(allow_none=True)
    day = fields.String()


class Costs(listed(Cost, "CostPage")):  # type: ignore[misc]
    """Costs, dearest first; `total` is of all pages."""

    total = fields.Nested(CostTotal, required=True)


Prices = listed(Price, "Prices")
