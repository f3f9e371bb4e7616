"""`/api/costs`: what was spent, by whom and on what."""

from typing import Any

from api.nouns import Call, Nouns
from api.schemas import costs as schemas
from orchestrator.services import costs
from orchestrator.services.run_views import RunFilter

bp = Nouns("costs", __name__, url_prefix="/api/costs", tag="costs")


@bp.get("")
@bp.view("read", query=schemas.CostsQuery, returns=schemas.Costs)
def list_costs(call: Call) -> Any:
    """Sum what attempts cost by workflow, node, agent, model and day, dearest first."""
    given = {
        key: call.query[key] for key in ("workflow", "created_after", "created_before") if key in call.query
    }
    runs = RunFilter(labels=tuple(call.query.get("label", ())), **given)
    return costs.page(call.deps, call.actor, call.query["group_by"], runs, call.query.get("run"), call.page())
