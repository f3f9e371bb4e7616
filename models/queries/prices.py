"""Prices of models that workspaces set themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from models.price import Price
from models.queries.dialect import insert
from models.queries.runs import now


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrice:
    """Micro-cents per million tokens; `cached_input` None: as `input`."""

    input: int
    output: int
    cached_input: int | None = None


def all_of(session: Session, workspace_id: str) -> dict[str, ModelPrice]:
    """Every price of a workspace by model."""
    rows = session.execute(
        select(
            Price.model, Price.input_microcents, Price.output_microcents, Price.cached_input_microcents
        ).where(Price.workspace_id == workspace_id)
    )
    return {
        model: ModelPrice(input=given, output=made, cached_input=cached)
        for model, given, made, cached in rows
    }


def put(session: Session, workspace_id: str, model: str, price: ModelPrice) -> Price:
    """Set the price of a model."""
    values = {
        "input_microcents": price.input,
        "output_microcents": price.output,
        "cached_input_microcents": price.cached_input,
        "updated_at": now(session),
    }
    row = insert(session, Price).values(workspace_id=workspace_id, model=model, **values)
    session.execute(row.on_conflict_do_update(index_elements=["workspace_id", "model"], set_=values))
    found = find(session, workspace_id, model)
    assert found is not None
    return found


def find(session: Session, workspace_id: str, model: str) -> Price | None:
    """The price of a model."""
    return session.get(Price, (workspace_id, model), populate_existing=True)


def page(session: Session, workspace_id: str, *, after: str | None, limit: int) -> Sequence[Price]:
    """Prices by model, after one of them."""
    query = select(Price).where(Price.workspace_id == workspace_id).order_by(Price.model).limit(limit)
    return session.scalars(query if after is None else query.where(Price.model > after)).all()


def remove(session: Session, price: Price) -> None:
    """Remove a price."""
    own = (Price.workspace_id == price.workspace_id, Price.model == price.model)
    session.execute(delete(Price).where(*own))
