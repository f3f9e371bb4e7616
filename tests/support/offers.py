"""Agent steps that wait to be pulled."""

from typing import Any

from models.queries import steps, work
from orchestrator.services.deps import Deps


def offer(deps: Deps, workspace_id: str, run_id: str, path: str, **wanted: Any) -> None:
    """Offer the parked attempt of a step: `agent_id`, or `role` and `capabilities`; `rank`."""
    given = {"agent_id": None, "role": None, "capabilities": (), "rank": 0, **wanted}
    with deps.db.transaction() as session:
        row = next(row for row in steps.hot(session, run_id) if row.path == path)
        assert row.status == "waiting", row.status
        work.offer(
            session, run_id=run_id, no=row.no, attempt=row.attempt, workspace_id=workspace_id, **given
        )
