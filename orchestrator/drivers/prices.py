"""Prices of models from the table that the library genai-prices carries; nothing is fetched.

The library prices by a snapshot that `UpdatePrices` may replace from the network. Ours is made of the table that
was installed and belongs to us, so nobody's update reaches it.
"""

import threading
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot

MICROCENTS = 100_000_000  # a dollar
MOST_NAMES = 10_000  # of models; the library remembers each that it was asked for

_log = structlog.get_logger(__name__)


class PriceTable:
    """Implements orchestrator.ports.Prices. Threads may share it; the library is imported when it is first used."""

    def __init__(self) -> None:
        self._snapshot: DataSnapshot | None = None
        self._asked: set[str] = set()
        self._lock = threading.Lock()

    def of(self, model: str, tokens_in: int, tokens_out: int, cached_in: int = 0) -> int | None:
        """See the port."""
        from genai_prices import Usage

        usage = Usage(
            input_tokens=tokens_in,
            cache_read_tokens=min(cached_in, tokens_in),
            output_tokens=tokens_out,
        )
        provider, slash, name = model.partition("/")
        try:
            found = self._table(model).calc(
                usage, name if slash else model, provider if slash else None, None, None
            )
        except LookupError:
            return None
        except ValueError as error:  # the model is priced by something else than these tokens
            _log.warning("model not priced", model=model, reason=str(error))
            return None
        return int((Decimal(found.total_price) * MICROCENTS).to_integral_value(ROUND_HALF_UP))

    def _table(self, model: str) -> "DataSnapshot":
        with self._lock:
            if self._snapshot is None or len(self._asked) > MOST_NAMES:
                from genai_prices.data import providers
                from genai_prices.data_snapshot import DataSnapshot

                self._snapshot = DataSnapshot(providers=providers, from_auto_update=False)
                self._asked.clear()
            self._asked.add(model)
            return self._snapshot
