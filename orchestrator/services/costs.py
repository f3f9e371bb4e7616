"""What was spent, by whom and on what. Source: spec "http-api", GET /api/costs."""

from dataclasses import asdict
from typing import Any

from models.queries import costs
from models.queries.costs import Sum, Wanted
from models.queries.run_views import RunFilter
from orchestrator.services import paging
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.paging import PageRequest


def page(
    deps: Deps, actor: Actor, by: tuple[str, ...], runs: RunFilter, run: str | None, request: PageRequest
) -> dict[str, Any]:
    """`{items, next_cursor, total}`, dearest first.

    A cursor says how many sums came before it: sums that change places between two pages may be seen twice.
    """
    criteria = {key: str(value) for key, value in asdict(runs).items() if value not in (None, ())}
    scope = ["costs", actor.workspace_id, list(by), run, criteria]
    offset = int(request.after(scope) or 0)
    wanted = Wanted(workspace_id=actor.workspace_id, by=by, runs=runs, run=run)
    with deps.db.read() as session:
        found, total = costs.page(session, wanted, offset=offset, limit=request.limit + 1)
    numbered = list(enumerate(found, offset + 1))
    answer = paging.page(
        numbered,
        request,
        scope,
        place=lambda each: str(each[0]),
        show=lambda each: dict(zip(by, each[1].keys, strict=True)) | _view(each[1]),
    )
    return {**answer, "total": _view(total)}


def _view(found: Sum) -> dict[str, Any]:
    return {
        "cost_microcents": found.cost,
        "tokens": {"input": found.tokens_in, "output": found.tokens_out},
        "attempts": found.attempts,
        "runs": found.runs,
    }
