"""Shapes that many calls share."""

from typing import Any

from marshmallow import fields
from marshmallow.validate import OneOf

from api.schemas.fields import Body, QueryInteger, Text
from models.states import RunStatus, StepStatus

CURSOR = "where a page before ended: its next_cursor"


class PageQuery(Body):
    """Which page of a list."""

    limit = QueryInteger(low=1, high=200, metadata={"description": "items a page, 50 by default"})
    cursor = Text(most=1_000, metadata={"description": CURSOR})


class ReasonBody(Body):
    """Why, for the log."""

    reason = Text(load_default="")


class ProblemItem(Body):
    """One mistake in what was sent."""

    pointer = fields.String(required=True, metadata={"description": "JSON pointer into the document sent"})
    line = fields.Integer(metadata={"description": "1-based, where the document was YAML"})
    code = fields.String(required=True)
    message = fields.String(required=True)


class Problem(Body):
    """RFC 9457 problem details."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    code = fields.String(required=True)
    errors = fields.List(fields.Nested(ProblemItem), required=True)


def moment(**options: Any) -> fields.Field[Any]:
    """A time in an answer: RFC 3339 in UTC."""
    return fields.DateTime(format="iso", required=True, **options)


def run_status() -> fields.Field[Any]:
    return fields.String(required=True, validate=OneOf([status.value for status in RunStatus]))


def step_status() -> fields.Field[Any]:
    return fields.String(required=True, validate=OneOf([status.value for status in StepStatus]))


def anything(**options: Any) -> fields.Field[Any]:
    """Any JSON value in an answer."""
    return fields.Raw(required=True, allow_none=True, **options)


def listed(item: type[Body], name: str) -> type[Body]:
    """The answer of a list of `item`."""
    shape: dict[str, fields.Field[Any]] = {
        "items": fields.List(fields.Nested(item), required=True),
        "next_cursor": fields.String(required=True, allow_none=True),
    }
    made = Body.from_dict(shape, name=name)
    assert issubclass(made, Body)
    return made
