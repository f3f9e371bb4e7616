"""The attempts of a run as spans, in the order they began: what a Gantt chart draws.

Source: spec "http-api", GET /api/runs/{id}/timeline.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from models.errors import InvalidError, Problem
from models.queries import timeline as queries
from models.queries.timeline import Place
from orchestrator.services import paging, run_views, step_views
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.paging import PageRequest
from orchestrator.services.shapes import moment

Told = Sequence[Row[Any]]


def page(deps: Deps, actor: Actor, run_id: str, request: PageRequest) -> dict[str, Any]:
    """Attempts with when they were queued, began, waited and ended. Raises NotFoundError."""
    scope = ["timeline", run_id]
    after = _place(request.after(scope))
    with deps.db.read() as session:
        run = run_views.found(session, actor.workspace_id, run_id)[0]
        plan = deps.plans.get(session, run.version_id)
        rows = queries.attempts(session, run, after=after, limit=request.limit + 1)
        told: dict[str, list[Row[Any]]] = defaultdict(list)
        for event in queries.told(session, run.id, {row.path for row in rows}):
            told[event.step].append(event)
    return paging.page(
        rows,
        request,
        scope,
        place=lambda row: json.dumps([row.at.isoformat(), row.no, row.number]),
        show=lambda row: _span(row, plan.at(row.no).id, plan.at(row.no).type, told[row.path]),
    )


def _place(text: str | None) -> Place | None:
    if text is None:
        return None
    try:
        at, no, number = json.loads(text)
        return Place(at=datetime.fromisoformat(at), no=int(no), number=int(number))
    except (ValueError, TypeError) as error:
        message = "cursor is no cursor that a list gave; leave it out to begin at the first page"
        raise InvalidError(
            message, [Problem(pointer="/cursor", code="INVALID_VALUE", message=message)]
        ) from error


def _span(row: Row[Any], node: str, type_: str, told: Told) -> dict[str, Any]:
    return {
        "path": row.path,
        "node": node,
        "type": type_,
        "attempt": row.number,
        "status": row.status,
        "queued_at": moment(_queued(told, row.at, row.number)),
        "started_at": moment(row.begun_at or row.claimed_at),
        "finished_at": None if row.status == "waiting" else moment(row.finished_at),  # it left its worker
        "waits": _waits(told, row.number),
        "agent": row.agent,
        "model": row.model,
        "tokens": step_views.tokens([row]),
        "cost_microcents": row.cost_microcents,
    }


def _queued(told: Told, began: datetime, attempt: int) -> datetime | None:
    """When the step was queued last before an attempt began; one that was claimed as it became ready, at its start."""
    found: datetime | None = None
    for event in told:
        if event.at > began:
            break
        if event.type == "step.reset":
            found = None
        if event.type == "step.queued":
            found = event.at
        if event.type == "step.started" and event.data.get("attempt") == attempt and found is None:
            found = event.at
    return found


def _waits(told: Told, attempt: int) -> list[dict[str, Any]]:
    """The spans in which an attempt was parked; `to` is null in one that it is in now."""
    spans: list[dict[str, Any]] = []
    for event in told:
        if event.data.get("attempt") != attempt:
            continue
        if spans and spans[-1]["to"] is None:
            spans[-1]["to"] = moment(event.at)
        if event.type == "step.waiting":
            spans.append({"from": moment(event.at), "to": None, "reason": event.data.get("reason")})
    return spans
