"""Prices of models that a workspace sets itself, which go before the table's and before what gateways say."""

from typing import Any

from sqlalchemy.orm import Session

from models.errors import InvalidError, NotFoundError, Problem
from models.price import Price
from models.queries import prices
from models.queries.prices import ModelPrice as ModelPrice
from orchestrator.services import auditing, paging
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.paging import PageRequest
from orchestrator.services.shapes import moment

_MOST_CHARACTERS = 255
_MICROCENTS = 1_000_000  # a cent


def put(deps: Deps, actor: Actor, model: str, price: ModelPrice, once: Once) -> dict[str, Any]:
    """Set the price of a model; it holds for what ends more than 5 s later. Raises InvalidError (name)."""
    if len(model) > _MOST_CHARACTERS:
        message = f"a model's name has at most {_MOST_CHARACTERS} characters, this one {len(model)}"
        raise InvalidError(message, [Problem(pointer="", code="INVALID_NAME", message=message)])
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        before = prices.find(session, actor.workspace_id, model)
        known = None if before is None else _view(before)
        answer = _view(prices.put(session, actor.workspace_id, model, price))
        auditing.record(session, actor, "price.set", f"price:{model}", before=known, after=answer)
        once.finish(session, answer)
        return answer


def get(deps: Deps, actor: Actor, model: str) -> dict[str, Any]:
    """The price of a model. Raises NotFoundError."""
    with deps.db.read() as session:
        return _view(_found(session, actor, model))


def list_(deps: Deps, actor: Actor, request: PageRequest) -> dict[str, Any]:
    """The workspace's prices by model."""
    scope = ["prices", actor.workspace_id]
    after = request.after(scope)
    with deps.db.read() as session:
        rows = prices.page(session, actor.workspace_id, after=after, limit=request.limit + 1)
        return paging.page(rows, request, scope, place=lambda row: row.model, show=_view)


def remove(deps: Deps, actor: Actor, model: str, once: Once) -> dict[str, Any]:
    """Remove a price: the table's holds again. Raises NotFoundError."""
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        row = _found(session, actor, model)
        answer = _view(row)
        prices.remove(session, row)
        auditing.record(session, actor, "price.delete", f"price:{model}", before=answer)
        once.finish(session, answer)
        return answer


def _found(session: Session, actor: Actor, model: str) -> Price:
    row = prices.find(session, actor.workspace_id, model)
    if row is None:
        raise NotFoundError(
            f"The workspace sets no price for {model!r}; GET /api/prices lists those that it sets"
        )
    return row


def _view(row: Price) -> dict[str, Any]:
    return {
        "model": row.model,
        "input_cents_per_million": _cents(row.input_microcents),
        "output_cents_per_million": _cents(row.output_microcents),
        "cached_input_cents_per_million": _cents(row.cached_input_microcents),
        "updated_at": moment(row.updated_at),
    }


def _cents(microcents: int | None) -> int | float | None:
    """A number of at most 6 decimals; a float has room for all 15 digits that a price can have."""
    if microcents is None:
        return None
    whole, rest = divmod(microcents, _MICROCENTS)
    return whole if rest == 0 else microcents / _MICROCENTS
