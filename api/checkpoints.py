"""`/api/runs/{run}`: checkpoints, going back to one, comparing two, and forks."""

from typing import Any

from api.nouns import Call, Nouns, answer
from api.schemas import checkpoints as schemas
from api.schemas import run_answers
from api.schemas.common import PageQuery
from api.schemas.runs import ReopenBody
from orchestrator.services import checkpoints, forking, restoring, run_views

bp = Nouns("checkpoints", __name__, url_prefix="/api/runs", tag="runs")


@bp.get("/<run>/checkpoints")
@bp.view("read", query=PageQuery, returns=schemas.Checkpoints)
def list_checkpoints(call: Call, run: str) -> Any:
    """List a run's checkpoints, oldest first: those that were named, and the automatic ones."""
    return checkpoints.page(call.deps, call.actor, run, call.page(200))


@bp.post("/<run>/checkpoints")
@bp.view("operate", body=schemas.CheckpointBody, returns=schemas.Checkpoint, status=201)
def create_checkpoint(call: Call, run: str) -> Any:
    """Name the present position of a run."""
    body = call.body
    return checkpoints.create(call.deps, call.actor, run, body["name"], body["reason"], call.once)


@bp.post("/<run>/checkpoints/<name>/restore")
@bp.view("operate", body=ReopenBody, returns=run_answers.Run)
def restore_checkpoint(call: Call, run: str, name: str) -> Any:
    """Bring a run back to a checkpoint; a run that has ended goes on."""
    once = run_views.keep_whole(call.deps, call.actor, call.once)
    limit = (call.body["budget"] or {}).get("limit_cents")
    wanted = restoring.Wanted(
        run_id=run, checkpoint=name, reason=call.body["reason"], limit_cents=limit
    )
    call.runtime.send(restoring.restore(call.deps, call.actor, wanted, once))
    return once.answer or run_views.run(call.deps, call.actor, run)


@bp.get("/<run>/checkpoints/diff")
@bp.view("read", query=schemas.CompareQuery, returns=schemas.Comparison)
def compare_checkpoints(call: Call, run: str) -> Any:
    """Compare two positions of a run, by names of checkpoints or numbers of events."""
    return checkpoints.compare(call.deps, call.actor, run, call.query["from_"], call.query["to"])


@bp.post("/<run>/fork")
@bp.view("operate", body=schemas.ForkBody, returns=run_answers.Run, status=202)
def fork_run(call: Call, run: str) -> Any:
    """Start a run from a position of this one: what was decided by then is copied, the rest is done."""
    once = run_views.keep_whole(call.deps, call.actor, call.once)
    created = forking.fork(call.deps, call.actor, forking.Wanted(run_id=run, **call.body), once)
    call.runtime.send(created.effects)
    location = {"Location": f"/api/runs/{created.run_id}"}
    return answer(once.answer or run_views.run(call.deps, call.actor, created.run_id), 202, location)
