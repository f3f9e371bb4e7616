"""`/api/gateways`: where agents are reached."""

from typing import Any

from api.nouns import Call, Nouns
from api.schemas import gateways as schemas
from api.schemas.common import PageQuery
from orchestrator.services import gateway_registry as gateways

bp = Nouns("gateways", __name__, url_prefix="/api/gateways", tag="gateways")


@bp.post("")
@bp.view("admin", body=schemas.GatewayBody, returns=schemas.Gateway, status=201)
def create_gateway(call: Call) -> Any:
    """Make a gateway; its token is kept encrypted and never shown."""
    return gateways.create(call.deps, call.actor, call.body, call.once)


@bp.get("")
@bp.view("read", query=PageQuery, returns=schemas.Gateways)
def list_gateways(call: Call) -> Any:
    """List gateways by name."""
    return gateways.list_(call.deps, call.actor, call.page())


@bp.get("/<gateway>")
@bp.view("read", returns=schemas.Gateway)
def get_gateway(call: Call, gateway: str) -> Any:
    """Read a gateway, by id or name."""
    return gateways.get(call.deps, call.actor, gateway)


@bp.patch("/<gateway>")
@bp.view("admin", body=schemas.GatewayPatch, returns=schemas.Gateway)
def update_gateway(call: Call, gateway: str) -> Any:
    """Change what is given of a gateway; another url or token is to be tried anew."""
    changed, effects = gateways.update(call.deps, call.actor, gateway, call.body, call.once)
    call.runtime.send(effects)
    return changed


@bp.delete("/<gateway>")
@bp.view("admin", returns=schemas.Gateway)
def remove_gateway(call: Call, gateway: str) -> Any:
    """Remove a gateway that no agent is registered with."""
    return gateways.remove(call.deps, call.actor, gateway, call.once)


@bp.post("/<gateway>/ping")
@bp.view("admin", returns=schemas.Pinged)
def ping_gateway(call: Call, gateway: str) -> Any:
    """Ask a gateway now whether it is well."""
    pinged, effects = gateways.ping(call.deps, call.actor, gateway)
    call.runtime.send(effects)
    return pinged
