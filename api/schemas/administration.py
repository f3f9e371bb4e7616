"""Keys, workspaces and the health of the installation, sent and answered."""

from marshmallow import fields
from marshmallow.validate import Length, OneOf, Regexp

from api.schemas.common import listed, moment
from api.schemas.fields import Body, Integer, Number, Text
from orchestrator.services.actors import SCOPES


class KeyBody(Body):
    """A key to make."""

    name = Text(least=1, most=255, required=True)
    scopes = fields.List(
        fields.String(validate=OneOf(SCOPES)), required=True, validate=Length(1, len(SCOPES))
    )
    workspace = Text(
        least=1, most=255, load_default=None, metadata={"description": "id or name; default: your own"}
    )


class Key(Body):
    """A key without its text."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    scopes = fields.List(fields.String(), required=True)
    workspace = fields.String(required=True)
    created_at = moment()
    revoked_at = moment(allow_none=True)
    expires_at = moment(allow_none=True)
    agent_id = fields.String(required=True, allow_none=True, metadata={"description": "whose own key it is"})


class NewKey(Key):
    """A key with its text, shown this once."""

    key = fields.String(required=True)


class WorkspaceBody(Body):
    """A workspace to make."""

    name = fields.String(
        required=True,
        validate=Regexp(
            r"\A[a-z][a-z0-9-]{0,63}\Z",
            error="A name has 1 to 64 of a-z, 0-9 and -, beginning with a letter.",
        ),
    )


class WorkspacePatch(Body):
    """What is to be different."""

    run_retention_days = Number(low=0.001, high=100_000, allow_none=True)


class Workspace(Body):
    id = fields.String(required=True)
    name = fields.String(required=True)
    run_retention_days = fields.Float(required=True, allow_none=True)
    created_at = moment()


class PoolBody(Body):
    """A pool's size."""

    size = Integer(low=0, high=1_000_000, required=True, metadata={"description": "slots; 0 starts nothing"})


class Pool(Body):
    """A pool as it stands: `taken` slots of `size`, and how many steps wait for one."""

    name = fields.String(required=True)
    size = fields.Integer(required=True)
    taken = fields.Integer(required=True)
    waiting = fields.Integer(required=True)
    created_at = moment()


class Health(Body):
    status = fields.String(required=True)


class Readiness(Body):
    """`ready`, `degraded` (work is taken and will go on later) or `unavailable`; `missing` says what is not there."""

    status = fields.String(required=True, validate=OneOf(["ready", "degraded", "unavailable"]))
    missing = fields.List(
        fields.String(validate=OneOf(["database", "broker", "workers", "beat"])), required=True
    )


Keys = listed(Key, "Keys")
Workspaces = listed(Workspace, "Workspaces")
Pools = listed(Pool, "Pools")
