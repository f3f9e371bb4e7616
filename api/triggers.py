"""`POST /api/workflows/{workflow}/runs`: the HTTP trigger."""

from typing import Any

from flask import Response

from api import stream
from api.nouns import Call, Nouns, answer
from api.schemas import run_answers
from api.schemas import runs as schemas
from orchestrator.services import run_views, runs
from orchestrator.services.runs import Trigger

bp = Nouns("triggers", __name__, url_prefix="/api/workflows", tag="runs")
_AT_ONCE = {
    "description": "The run, which has ended; or its events",
    "content": {"application/json": {"schema": run_answers.Run}, "text/event-stream": {"schema": {}}},
}


@bp.post("/<workflow>/runs")
@bp.view(
    "operate",
    body=schemas.TriggerBody,
    query=schemas.TriggerQuery,
    returns=run_answers.Run,
    status=202,
    also={200: _AT_ONCE},
)
def trigger_run(call: Call, workflow: str) -> Any:
    """Start a run of a workflow.

    Answers 202 at once; with `wait` 200 and the whole run when it ends in time; with
    `Accept: text/event-stream` the run's events.
    """
    if stream.wanted():
        return _streamed(call, workflow)
    run_id, location = _start(call, workflow)
    seconds = call.query.get("wait", 0)
    if seconds and call.runtime.hub.wait(run_id, seconds):
        return answer(run_views.run(call.deps, call.actor, run_id), 200, location)
    return answer(call.once.answer or run_views.run(call.deps, call.actor, run_id), 202, location)


def _streamed(call: Call, workflow: str) -> Response:
    place = call.runtime.places.take()  # before the run: a client that can't be served starts none
    try:
        run_id, location = _start(call, workflow)
    except Exception:
        place.leave()
        raise
    return stream.respond(call.runtime.hub.stream(run_id, 0), place, location)


def _start(call: Call, workflow: str) -> tuple[str, dict[str, str]]:
    once = run_views.keep_whole(call.deps, call.actor, call.once)
    created = runs.create(call.deps, call.actor, workflow, Trigger(**call.body), once)
    call.runtime.send(created.effects)
    return created.run_id, {"Location": f"/api/runs/{created.run_id}"}
