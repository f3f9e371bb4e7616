"""What an attempt cost: the workspace's own price, else the table's, else what was said, else unknown.

Source: spec "engine", Budget; docs/decisions/0030. Never within a transaction.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from models.database import OUTAGES, Database
from models.queries import prices
from models.queries.prices import ModelPrice
from orchestrator.core.outcome import MOST_COST, Usage

if TYPE_CHECKING:
    from orchestrator.services.deps import Deps

KEPT_SECONDS = 5.0

_log = structlog.get_logger(__name__)


def priced(deps: "Deps", workspace_id: str, usage: Usage) -> Usage:
    """The usage with what it cost by the price that holds; as it is where its tokens or its model are not known."""
    if usage.model is None or usage.tokens_in is None or usage.tokens_out is None:
        return usage
    own = deps.own_prices.of(workspace_id, usage.model)
    if own is not None:
        cost: int | None = cost_of(own, usage.tokens_in, usage.tokens_out, usage.cached_in or 0)
    else:
        cost = deps.prices.of(usage.model, usage.tokens_in, usage.tokens_out, usage.cached_in or 0)
    return usage if cost is None or cost > MOST_COST else replace(usage, cost_microcents=cost)


def cost_of(price: ModelPrice, tokens_in: int, tokens_out: int, cached_in: int) -> int:
    """Micro-cents of these tokens at a price, rounded half up once; `cached_in` of `tokens_in` were cached."""
    cached = min(cached_in, tokens_in)
    cached_price = price.input if price.cached_input is None else price.cached_input
    total = (tokens_in - cached) * price.input + cached * cached_price + tokens_out * price.output
    return (total + 500_000) // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    prices: Mapping[str, ModelPrice]
    until: float


@dataclass(slots=True)
class OwnPrices:
    """The prices of workspaces, each workspace's read at most every 5 s. Threads may share it."""

    db: Database
    _kept: dict[str, _Kept] = field(default_factory=dict)

    def of(self, workspace_id: str, model: str) -> ModelPrice | None:
        """The price of a model, by its whole name or by what follows its provider's."""
        found = self._of(workspace_id)
        return found.get(model) or found.get(model.partition("/")[2])

    def _of(self, workspace_id: str) -> Mapping[str, ModelPrice]:
        kept, now = self._kept.get(workspace_id), time.monotonic()
        if kept is not None and now < kept.until:
            return kept.prices
        try:
            with self.db.glance() as session:
                found = prices.all_of(session, workspace_id)
        except OUTAGES as error:  # the work is done and has to be paid for: by what was known last
            _log.warning("prices not read", workspace=workspace_id, reason=type(error).__name__)
            return {} if kept is None else kept.prices
        for other in [key for key, each in list(self._kept.items()) if each.until < now]:
            self._kept.pop(other, None)
        self._kept[workspace_id] = _Kept(prices=found, until=now + KEPT_SECONDS)
        return found
