"""Steps as callers see them, their inputs rebuilt and pass-through outputs dereferenced.

Source: spec "http-api", GET /api/runs/{id}/steps. A step that has had no attempt has no input yet.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from models.errors import NotFoundError
from models.queries import calls, runs
from models.queries import run_views as queries
from models.queries.run_views import Forward
from models.run import Run
from models.states import StepStatus
from models.step import Step
from orchestrator.core.plan import Plan, PlanNode
from orchestrator.services import compensation_views, data, paging
from orchestrator.services.data import Names
from orchestrator.services.deps import Deps
from orchestrator.services.paging import PageRequest
from orchestrator.services.shapes import moment
from orchestrator.services.waiting import Waiting

Attempts = Sequence[Row[Any]]
# What a step gave stays when it is undone.
GAVE = (StepStatus.SUCCESS, StepStatus.COMPENSATING, StepStatus.COMPENSATED)
_ERROR = ("code", "message", "transient", "details")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shelf:
    """What the steps of one answer are shown from, loaded at once for all of them.

    called: the run that an attempt called, by the step's path and its number. undoing: compensations that have begun,
    by number.
    """

    run: Run
    plan: Plan
    names: Names
    waiting: Waiting
    attempts: dict[int, list[Row[Any]]]
    called: dict[tuple[str, int], str]
    undoing: Mapping[int, Step]


def forward(plan: Plan) -> Forward:
    """Which steps of a run of a plan are no compensations."""
    return Forward(size=len(plan.nodes), count=plan.forward)


def page(session: Session, deps: Deps, run: Run, request: PageRequest) -> dict[str, Any]:
    """Steps in the order of the plan."""
    scope = ["steps", run.id]
    place = request.after(scope)
    after = -1 if place is None else int(place)
    plan = deps.plans.get(session, run.version_id)
    rows = queries.steps(session, run.id, forward(plan), after=after, limit=request.limit + 1)
    shelf = _shelf(session, deps, run, rows[: request.limit])
    return paging.page(
        rows, request, scope, place=lambda step: str(step.no), show=lambda step: _view(shelf, step)
    )


def one(session: Session, deps: Deps, run: Run, path: str) -> dict[str, Any]:
    """One step with its `attempt_log`. Raises NotFoundError."""
    step = queries.step(session, run.id, path)
    if step is None:
        raise NotFoundError(f"The run {run.id} has no step {path!r}; GET /api/runs/{run.id}/steps lists them")
    shelf = _shelf(session, deps, run, [step])
    given = queries.attempt_outputs(session, run.id, step.no)
    log = [
        _attempt_view(row) | {"output": given.get(row.number)} | _called(shelf, step, row.number)
        for row in shelf.attempts[step.no]
    ]
    return {**_view(shelf, step), "attempt_log": log}


def _shelf(session: Session, deps: Deps, run: Run, steps: Sequence[Step]) -> _Shelf:
    plan = deps.plans.get(session, run.version_id)
    info = runs.info(session, run.id)
    assert info is not None
    names = data.names(session, plan, info)
    numbers = {step.no for step in steps}
    names.prefetch(numbers | {edge.source for no in numbers for edge in plan.at(no).ins})
    attempts: dict[int, list[Row[Any]]] = defaultdict(list)
    undoing = compensation_views.rows(session, run, plan, steps)
    for row in queries.attempts(session, run.id, numbers | undoing.keys()):
        attempts[row.no].append(row)
    waiting = Waiting(session=session, deps=deps, run=run, plan=plan, names=names)
    calling = [step.path for step in steps if plan.at(step.no).calls]
    called = calls.by_steps(session, run.id, calling) if calling else {}
    return _Shelf(run=run, plan=plan, names=names, waiting=waiting, attempts=attempts, called=called, undoing=undoing)


def _view(shelf: _Shelf, step: Step) -> dict[str, Any]:
    tries = shelf.attempts[step.no]
    node = shelf.plan.at(step.no)
    return {
        "path": step.path,
        "node": node.id,
        "type": node.type,
        "status": step.status,
        "attempts": len(tries),
        "route": step.route,
        "input": _input(shelf, step, tries),
        "output": shelf.names.output(step.no) if step.status in GAVE else None,
        "error": _error(step, tries),
        "degraded": step.status == StepStatus.SUCCESS and bool(tries) and tries[-1].error is not None,
        "agent": _last(tries, "agent"),
        "model": _last(tries, "model"),
        "tokens": tokens(tries),
        "cost_microcents": sum(row.cost_microcents for row in tries),
        "waiting_for": shelf.waiting.reason(step),
        **_called(shelf, step, tries[-1].number if tries else 0),
        **_undoing(shelf, node),
        "created_at": moment(shelf.run.created_at),
        "started_at": moment(step.started_at),
        "finished_at": moment(step.finished_at),
    }


def _undoing(shelf: _Shelf, node: PlanNode) -> dict[str, Any]:
    """How the undoing of a step stands; of a step without compensation, nothing."""
    if node.undone_by is None:
        return {}
    own = shelf.undoing.get(node.undone_by)
    return {"compensation": compensation_views.of_step(own, shelf.attempts[node.undone_by])}


def _called(shelf: _Shelf, step: Step, attempt: int) -> dict[str, str | None]:
    """The run that an attempt has called; of a step that calls none, nothing."""
    calls_one = shelf.plan.at(step.no).calls
    return {"called_run_id": shelf.called.get((step.path, attempt))} if calls_one else {}


def _input(shelf: _Shelf, step: Step, tries: Attempts) -> dict[str, Any] | None:
    if not tries:
        return None
    node = shelf.plan.at(step.no)
    return shelf.names.chained(node, step.live_in) | (tries[-1].resolved or {})


def _error(step: Step, tries: Attempts) -> Any:
    if step.status in (*GAVE, StepStatus.SKIPPED) or not tries:
        return None
    return tries[-1].error


def _last(tries: Attempts, column: str) -> Any:
    return next((value for row in reversed(tries) if (value := getattr(row, column)) is not None), None)


def tokens(tries: Attempts) -> dict[str, int] | None:
    """The tokens of attempts together; None where none of them says."""
    counted = [row for row in tries if row.tokens_in is not None or row.tokens_out is not None]
    if not counted:
        return None
    return {
        "input": sum(row.tokens_in or 0 for row in counted),
        "output": sum(row.tokens_out or 0 for row in counted),
    }


def _attempt_view(row: Row[Any]) -> dict[str, Any]:
    return {
        "attempt": row.number,
        "status": row.status,
        "error": None if row.error is None else {key: row.error[key] for key in _ERROR},
        "worker": row.worker,
        "agent": row.agent,
        "model": row.model,
        "tokens": tokens([row]),
        "cost_microcents": row.cost_microcents,
        "started_at": moment(row.begun_at or row.claimed_at),
        "finished_at": moment(row.finished_at),
    }
