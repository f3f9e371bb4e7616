"""`/api/pools`: named slots that steps take."""

from typing import Any

from api.nouns import Call, Nouns
from api.schemas import administration as schemas
from api.schemas.common import PageQuery
from orchestrator.services import pools

bp = Nouns("pools", __name__, url_prefix="/api/pools", tag="pools")


@bp.get("")
@bp.view("read", query=PageQuery, returns=schemas.Pools)
def list_pools(call: Call) -> Any:
    """List pools by name, with what of each is taken."""
    return pools.list_(call.deps, call.actor, call.page())


@bp.get("/<pool>")
@bp.view("read", returns=schemas.Pool)
def get_pool(call: Call, pool: str) -> Any:
    """Read a pool."""
    return pools.get(call.deps, call.actor, pool)


@bp.put("/<pool>")
@bp.view("admin", body=schemas.PoolBody, returns=schemas.Pool)
def put_pool(call: Call, pool: str) -> Any:
    """Make a pool, or give it another size: steps that wait start within a second, none that run is ended."""
    return pools.put(call.deps, call.actor, pool, call.body["size"], call.once)


@bp.delete("/<pool>")
@bp.view("admin", returns=schemas.Pool)
def remove_pool(call: Call, pool: str) -> Any:
    """Remove a pool: steps that name it wait until there is one again."""
    return pools.remove(call.deps, call.actor, pool, call.once)
