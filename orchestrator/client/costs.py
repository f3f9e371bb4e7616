"""`client.costs`: what was spent; `client.prices`: what a model's tokens cost the workspace."""

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.client.answers import Cost, CostTotal, Price
from orchestrator.client.transport import Transport, label_pairs, step_path


class Costs:
    """Sums of what attempts cost."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        by: Sequence[str] = ("workflow",),
        limit: int | None = None,
        *,
        workflow: str | None = None,
        run: str | None = None,
        labels: Mapping[str, str] | None = None,
        created_after: str | None = None,
        created_before: str | None = None,
    ) -> Iterator[Cost]:
        """Sums by some of `workflow`, `node`, `agent`, `model`, `day`, dearest first, of the runs that fit all.

        run: that one and all that it called and waited for. Times are RFC 3339, of the runs' creation.
        """
        return self._transport.pages(
            "/api/costs",
            limit,
            group_by=",".join(by),
            workflow=workflow,
            run=run,
            label=label_pairs(labels),
            created_after=created_after,
            created_before=created_before,
        )

    def total(
        self,
        *,
        workflow: str | None = None,
        run: str | None = None,
        labels: Mapping[str, str] | None = None,
        created_after: str | None = None,
        created_before: str | None = None,
    ) -> CostTotal:
        """The sum of all of them."""
        found: CostTotal = self._transport.get(
            "/api/costs",
            limit=1,
            workflow=workflow,
            run=run,
            label=label_pairs(labels),
            created_after=created_after,
            created_before=created_before,
        )["total"]
        return found


class Prices:
    """Prices that the workspace sets itself; to set one needs the scope `admin`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def set(
        self,
        model: str,
        *,
        input_cents: float,
        output_cents: float,
        cached_input_cents: float | None = None,
        idempotency_key: str | None = None,
    ) -> Price:
        """Set what a million tokens of a model, such as `openai/gpt-4o`, cost; at most 6 decimals of a cent."""
        body = {
            "input_cents_per_million": input_cents,
            "output_cents_per_million": output_cents,
            "cached_input_cents_per_million": cached_input_cents,
        }
        made: Price = self._transport.write("PUT", _path(model), body, idempotency_key=idempotency_key)
        return made

    def list(self, limit: int | None = None) -> Iterator[Price]:
        """Prices by model."""
        return self._transport.pages("/api/prices", limit)

    def get(self, model: str) -> Price:
        """The price that the workspace sets for a model."""
        found: Price = self._transport.get(_path(model))
        return found

    def remove(self, model: str) -> Price:
        """Let the price of the built-in table hold again."""
        removed: Price = self._transport.write("DELETE", _path(model))
        return removed


def _path(model: str) -> str:
    return f"/api/prices/{step_path(model)}"
