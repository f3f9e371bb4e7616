"""Runs as callers see them: one, a page of them, their events.

Source: spec "http-api", GET /api/runs….
"""

from dataclasses import asdict
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from models.errors import NotFoundError
from models.event import Event
from models.queries import degraded, runs
from models.queries import run_views as queries
from models.queries.run_views import RunFilter as RunFilter
from models.run import Run, RunData
from models.states import RunStatus, StepStatus
from orchestrator.core.mermaid import draw
from orchestrator.services import compensation_views, data, paging, step_views
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.paging import PageRequest
from orchestrator.services.shapes import moment

STEPS_INCLUDED = 1_000
Found = Row[Run, RunData, str, int]


def run(deps: Deps, actor: Actor, run_id: str, *, include_steps: bool = False) -> dict[str, Any]:
    """A run, whole; with steps the first 1,000, and `steps_next_cursor` for more. Raises NotFoundError."""
    with deps.db.read() as session:
        row = found(session, actor.workspace_id, run_id)
        shown = in_session(session, deps, row)
        if include_steps:
            page = step_views.page(session, deps, row[0], PageRequest(limit=STEPS_INCLUDED))
            shown |= {"steps": page["items"], "steps_next_cursor": page["next_cursor"]}
        return shown


def keep_whole(deps: Deps, actor: Actor, once: Once) -> Once:
    """Let the guard of a write to a run keep the whole run as that write left it."""
    once.show = lambda session, kept: in_session(
        session, deps, found(session, actor.workspace_id, kept["id"])
    )
    return once


def in_session(session: Session, deps: Deps, row: Found) -> dict[str, Any]:
    """A run as this transaction sees it."""
    found_run, run_data, workflow, version = row
    plan = deps.plans.get(session, found_run.version_id)
    return {
        **_name(found_run, workflow, version),
        "inputs": run_data.inputs,
        "outputs": outputs(session, deps, found_run, run_data),
        "variables": run_data.variables,
        "forked_from": run_data.forked_from,
        **_course(found_run, run_data.labels, degraded=bool(degraded.runs(session, [found_run.id]))),
        "step_counts": queries.step_counts(session, found_run.id, step_views.forward(plan)),
        **compensation_views.of_run(session, plan, found_run),
    }


def runs_page(deps: Deps, actor: Actor, wanted: RunFilter, request: PageRequest) -> dict[str, Any]:
    """Runs, newest first, without inputs, outputs, variables and step counts."""
    criteria = {key: str(value) for key, value in asdict(wanted).items() if value not in (None, ())}
    scope = ["runs", actor.workspace_id, criteria]
    before = request.after(scope)
    with deps.db.read() as session:
        rows = queries.page(session, actor.workspace_id, wanted, before=before, limit=request.limit + 1)
        spoilt = degraded.runs(session, [row[0].id for row in rows])
        return paging.page(
            rows,
            request,
            scope,
            place=lambda row: row[0].id,
            show=lambda row: _summary(*row, degraded=row[0].id in spoilt),
        )


def steps(deps: Deps, actor: Actor, run_id: str, request: PageRequest) -> dict[str, Any]:
    """The steps of a run in the order of its plan. Raises NotFoundError."""
    with deps.db.read() as session:
        return step_views.page(session, deps, found(session, actor.workspace_id, run_id)[0], request)


def step(deps: Deps, actor: Actor, run_id: str, path: str) -> dict[str, Any]:
    """One step with its `attempt_log`. Raises NotFoundError."""
    with deps.db.read() as session:
        return step_views.one(session, deps, found(session, actor.workspace_id, run_id)[0], path)


def events(deps: Deps, actor: Actor, run_id: str, *, after: int, request: PageRequest) -> dict[str, Any]:
    """The run's log from after number `after`, or from after the cursor. Raises NotFoundError."""
    scope = ["events", run_id]
    place = request.after(scope)
    with deps.db.read() as session:
        found(session, actor.workspace_id, run_id)
        start = after if place is None else int(place)
        rows = queries.events(session, run_id, after=start, limit=request.limit + 1)
        return paging.page(rows, request, scope, place=lambda row: str(row.seq), show=event)


def mermaid(deps: Deps, actor: Actor, run_id: str) -> str:
    """The run drawn with its steps' statuses. Raises NotFoundError."""
    with deps.db.read() as session:
        row = found(session, actor.workspace_id, run_id)
        plan = deps.plans.get(session, row[0].version_id)
        return draw(plan, deps.types, queries.statuses(session, run_id))


def found(session: Session, workspace_id: str, run_id: str) -> Found:
    """A run of the workspace with its data. Raises NotFoundError."""
    row = queries.find(session, workspace_id, run_id)
    if row is None:
        raise NotFoundError(f"There is no run {run_id!r}")
    return row


def event(row: Event) -> dict[str, Any]:
    """`{seq, type, run_id, step?, at, actor?, data}`."""
    shown: dict[str, Any] = {"seq": row.seq, "type": row.type, "run_id": row.run_id}
    if row.step is not None:
        shown["step"] = row.step
    shown["at"] = moment(row.at)
    if row.actor is not None:
        shown["actor"] = row.actor
    return {**shown, "data": row.data}


def _summary(found_run: Run, labels: Any, workflow: str, version: int, *, degraded: bool) -> dict[str, Any]:
    return _name(found_run, workflow, version) | _course(found_run, labels, degraded=degraded)


def _name(found_run: Run, workflow: str, version: int) -> dict[str, Any]:
    return {"id": found_run.id, "workflow": workflow, "version": version, "status": found_run.status}


def _course(found_run: Run, labels: Any, *, degraded: bool) -> dict[str, Any]:
    error = found_run.error
    return {
        "error": None if error is None else {key: error.get(key) for key in ("code", "message", "step")},
        "degraded": degraded,
        "cost_microcents": found_run.cost_microcents,
        "labels": labels,
        "parent_run_id": found_run.parent_run_id,
        "created_at": moment(found_run.created_at),
        "started_at": moment(found_run.started_at),
        "finished_at": moment(found_run.finished_at),
    }


def outputs(session: Session, deps: Deps, found_run: Run, run_data: RunData) -> Any:
    """A run's outputs: those of its definition, else those of its terminal nodes; None unless it succeeded."""
    if found_run.status != RunStatus.SUCCESS:
        return None
    if run_data.outputs is not None:
        return run_data.outputs
    plan = deps.plans.get(session, found_run.version_id)
    info = runs.info(session, found_run.id)
    assert info is not None
    names = data.names(session, plan, info)
    names.prefetch([node.no for node in plan.terminal])
    return {
        node.id: names.output(node.no)
        for node in plan.terminal
        if names.row(node.no).status == StepStatus.SUCCESS
    }
