"""`/api/prices`: what models cost a workspace."""

from typing import Any

from api.nouns import Call, Nouns
from api.schemas import costs as schemas
from api.schemas.common import PageQuery
from orchestrator.services import prices
from orchestrator.services.prices import ModelPrice

bp = Nouns("prices", __name__, url_prefix="/api/prices", tag="costs")


@bp.get("")
@bp.view("read", query=PageQuery, returns=schemas.Prices)
def list_prices(call: Call) -> Any:
    """List the prices that the workspace sets, by model."""
    return prices.list_(call.deps, call.actor, call.page())


@bp.get("/<path:model>")
@bp.view("read", returns=schemas.Price)
def get_price(call: Call, model: str) -> Any:
    """Read the price that the workspace sets for a model."""
    return prices.get(call.deps, call.actor, model)


@bp.put("/<path:model>")
@bp.view("admin", body=schemas.PriceBody, returns=schemas.Price)
def put_price(call: Call, model: str) -> Any:
    """Set the price of a model, such as `openai/gpt-4o`; it holds for what ends from 5 s later on."""
    price = ModelPrice(
        input=call.body["input_cents_per_million"],
        output=call.body["output_cents_per_million"],
        cached_input=call.body["cached_input_cents_per_million"],
    )
    return prices.put(call.deps, call.actor, model, price, call.once)


@bp.delete("/<path:model>")
@bp.view("admin", returns=schemas.Price)
def remove_price(call: Call, model: str) -> Any:
    """Remove a price: that of the built-in table holds again."""
    return prices.remove(call.deps, call.actor, model, call.once)
