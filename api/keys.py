"""`/api/keys`: who may call."""

from typing import Any

from api.nouns import Call, Nouns
from api.schemas import administration as schemas
from api.schemas.common import PageQuery
from orchestrator.services import keys

bp = Nouns("keys", __name__, url_prefix="/api/keys", tag="keys")


@bp.post("")
@bp.view("admin", body=schemas.KeyBody, returns=schemas.NewKey, status=201)
def create_key(call: Call) -> Any:
    """Make a key; its text is shown this once."""
    return keys.create(call.deps, call.actor, once=call.once, **call.body)


@bp.get("")
@bp.view("admin", query=PageQuery, returns=schemas.Keys)
def list_keys(call: Call) -> Any:
    """List keys, newest first, revoked ones too."""
    return keys.list_(call.deps, call.actor, call.page())


@bp.get("/<key>")
@bp.view("admin", returns=schemas.Key)
def get_key(call: Call, key: str) -> Any:
    """Read a key."""
    return keys.get(call.deps, call.actor, key)


@bp.delete("/<key>")
@bp.view("admin", returns=schemas.Key)
def revoke_key(call: Call, key: str) -> Any:
    """Revoke a key; it stops working within a second."""
    revoked = keys.revoke(call.deps, call.actor, key, call.once)
    call.runtime.keys.forget()
    return revoked
