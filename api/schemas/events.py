"""The workspace's events: what is asked for and answered."""

from typing import Any

from marshmallow import ValidationError, fields

from api.schemas.common import PageQuery, listed, moment
from api.schemas.fields import Body, QueryMoment, Text
from orchestrator.core import event_types

MOST = 50


class Types(fields.String):
    """Patterns of types, with commas between them."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        text = super()._deserialize(value, attr, data, **options)
        given = tuple(part.strip() for part in str(text).split(","))
        for pattern in given:
            if not event_types.is_pattern(pattern):
                raise ValidationError(
                    f"{pattern[:80]!r} picks no type of event; write run.completed, run.* or *, with commas between."
                )
        if len(given) > MOST:
            raise ValidationError(f"{len(given)} types are given; give at most {MOST}.")
        return given


class _Picked(Body):
    types = Types(
        load_default=(), metadata={"description": "types with commas between, such as `run.*,step.failed`"}
    )
    run = Text(most=64, metadata={"description": "of one run, by id"})


class WatchQuery(_Picked):
    after = Text(most=200, metadata={"description": "as Last-Event-ID, which goes first"})


class EventsQuery(_Picked, PageQuery):
    workflow = Text(most=64, metadata={"description": "of one workflow, by id or name"})
    after = QueryMoment(metadata={"description": "later than this moment"})
    before = QueryMoment(metadata={"description": "earlier than this moment"})


class WorkspaceEvent(Body):
    """An event of a run, or of none: then `seq` is null, and there is no `run_id`."""

    seq = fields.Integer(required=True, allow_none=True)
    type = fields.String(required=True)
    run_id = fields.String()
    step = fields.String()
    at = moment()
    actor = fields.String()
    data = fields.Raw(required=True, metadata={"type": "object"})


WorkspaceEvents = listed(WorkspaceEvent, "WorkspaceEvents")
