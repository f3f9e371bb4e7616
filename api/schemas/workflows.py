"""Workflows and versions, sent and answered."""

from marshmallow import INCLUDE, fields
from marshmallow.validate import OneOf

from api.schemas.common import PageQuery, ProblemItem, anything, listed, moment
from api.schemas.fields import Body, Integer, Object, QueryBoolean, QueryInteger, Variables
from models.states import RunStatus


class Definition(Body):
    """A workflow's definition, in JSON or YAML; checked whole by the compiler, not by this schema."""

    class Meta:
        unknown = INCLUDE

    name = fields.String(required=True, metadata={"pattern": "^[a-z][a-z0-9-]{0,63}$"})
    description = fields.String()
    inputs = fields.Raw(metadata={"type": "object", "description": "JSON Schema of the run's inputs"})
    nodes = fields.List(fields.Raw(metadata={"type": "object"}), required=True)
    edges = fields.List(fields.Raw(metadata={"type": ["object", "string"]}))


class RollbackBody(Body):
    """The version whose content becomes the newest."""

    version = Integer(low=1, required=True)


class WorkflowsQuery(PageQuery):
    archived = QueryBoolean(metadata={"description": "true: archived ones too"})


class VersionQuery(Body):
    version = QueryInteger(low=1, metadata={"description": "default: the current one"})


class DiffQuery(Body):
    from_ = QueryInteger(low=1, data_key="from", metadata={"description": "default: the one before `to`"})
    to = QueryInteger(low=1, metadata={"description": "default: the current one"})


class Classification(Body):
    class_ = fields.String(data_key="class", required=True, validate=OneOf(["short", "medium", "long"]))
    reasons = fields.List(fields.String(), required=True)


class Written(Body):
    """What a write of a definition answers."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    version = fields.Integer(required=True)
    classification = fields.Nested(Classification, required=True)
    estimated_cost_cents = fields.Integer(required=True)
    estimate_is_lower_bound = fields.Boolean(required=True)


class WorkflowSummary(Written):
    digest = fields.String(required=True, metadata={"description": "SHA-256 of the canonical definition"})
    created_at = moment()
    updated_at = moment()
    archived_at = moment(allow_none=True)


class Workflow(WorkflowSummary):
    definition = anything()


class VersionSummary(Body):
    version = fields.Integer(required=True)
    digest = fields.String(required=True)
    classification = fields.Nested(Classification, required=True)
    estimated_cost_cents = fields.Integer(required=True)
    estimate_is_lower_bound = fields.Boolean(required=True)
    created_at = moment()
    created_by = fields.String(required=True, allow_none=True)


class Version(VersionSummary):
    definition = anything()


class Validation(Body):
    valid = fields.Boolean(required=True)
    errors = fields.List(fields.Nested(ProblemItem), required=True)
    classification = fields.Nested(Classification, required=True, allow_none=True)
    estimated_cost_cents = fields.Integer(required=True, allow_none=True)
    estimate_is_lower_bound = fields.Boolean(required=True, allow_none=True)


class Change(Body):
    pointer = fields.String(required=True)
    from_ = anything(data_key="from")
    to = anything()


class Diff(Body):
    added = fields.List(fields.Raw(), required=True)
    removed = fields.List(fields.Raw(), required=True)
    changed = fields.List(fields.Nested(Change), required=True)


class TestBody(Body):
    """A test of a workflow: what it is started with, what stands for the outside world, what people do."""

    inputs = Object(load_default=dict)
    variables = Variables(load_default=dict)
    version = Integer(low=1, metadata={"description": "default: the current one"})
    definition = Object(metadata={"description": "in the place of the stored one"})
    mocks = Object(load_default=dict)
    script = fields.List(fields.Raw(metadata={"type": "object"}), load_default=list)
    history = Object(metadata={"description": "of a run, to be replayed"})


class Difference(Body):
    """What of a replayed run is not as it was."""

    path = fields.String(required=True, allow_none=True)
    was = anything()
    now = anything()
    why = fields.String(required=True)


class Tested(Body):
    """What came of a test; of a replayed history `same`, `differences`, `status` and `outputs`."""

    status = fields.String(required=True, validate=OneOf([status.value for status in RunStatus]))
    outputs = anything()
    error = fields.Raw(metadata={"type": ["object", "null"]})
    waiting = fields.List(fields.String())
    steps = fields.List(fields.Raw(metadata={"type": "object"}))
    events = fields.List(fields.Raw(metadata={"type": "object"}))
    unmocked = fields.List(fields.String())
    elapsed_virtual_seconds = fields.Float()
    same = fields.Boolean()
    differences = fields.List(fields.Nested(Difference))


class Plan(Body):
    """The execution plan: nodes by id with their dependencies and dependents."""

    class Meta:
        unknown = INCLUDE

    nodes = fields.Raw(required=True, metadata={"type": "object"})
    start_nodes = fields.List(fields.String(), required=True)
    levels = fields.List(fields.List(fields.String()), required=True)


Workflows = listed(WorkflowSummary, "Workflows")
Versions = listed(VersionSummary, "Versions")
