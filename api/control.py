"""`/api/runs`: what an operator does to steps, variables, and many runs at once."""

from typing import Any

from api.nouns import Call, Nouns
from api.schemas import run_answers as answers
from api.schemas import runs as schemas
from orchestrator.services import bulk, control, overriding, run_views, variables
from orchestrator.services.bulk import Bulk
from orchestrator.services.paging import PageRequest
from orchestrator.services.reaching import Wanted
from orchestrator.services.run_views import RunFilter

bp = Nouns("control", __name__, url_prefix="/api/runs", tag="runs")


@bp.post("/<run>/steps/<path:path>/retry")
@bp.view("operate", body=schemas.ReopenBody, returns=answers.Run)
def retry_step(call: Call, run: str, path: str) -> Any:
    """Try a failed step again, with fresh tries; a run that has ended goes on."""
    return _act(call, run, path, control.retry)


@bp.post("/<run>/steps/<path:path>/skip")
@bp.view("operate", body=schemas.ReopenBody, returns=answers.Run)
def skip_step(call: Call, run: str, path: str) -> Any:
    """Skip a step that has failed, waits or has not begun."""
    return _act(call, run, path, control.skip)


@bp.post("/<run>/steps/<path:path>/complete")
@bp.view("operate", body=schemas.CompleteBody, returns=answers.Run)
def complete_step(call: Call, run: str, path: str) -> Any:
    """Let a failed or waiting step succeed with an output that is given."""
    return _act(call, run, path, control.complete, call.body["output"])


@bp.post("/<run>/steps/<path:path>/rerun")
@bp.view("operate", body=schemas.ReopenBody, returns=answers.Run)
def rerun_step(call: Call, run: str, path: str) -> Any:
    """Do an ended step and all behind it anew; what is before it is reused."""
    return _act(call, run, path, control.rerun)


@bp.post("/<run>/steps/<path:path>/override")
@bp.view("operate", body=schemas.OverrideBody, returns=answers.Run)
def override_step(call: Call, run: str, path: str) -> Any:
    """Change the timeout or the retry policy of a step's next attempts."""
    given = {key: call.body[key] for key in ("timeout", "retry") if key in call.body}
    return _act(call, run, path, overriding.override, given)


def _act(call: Call, run: str, path: str, act: Any, *given: Any) -> Any:
    once = run_views.keep_whole(call.deps, call.actor, call.once)
    limit = (call.body.get("budget") or {}).get("limit_cents")
    wanted = Wanted(run_id=run, path=path, reason=call.body["reason"], limit_cents=limit)
    call.runtime.send(act(call.deps, call.actor, wanted, *given, once))
    return once.answer or run_views.run(call.deps, call.actor, run)


@bp.post("/<run>/variables")
@bp.view("operate", body=schemas.VariablesBody, returns=answers.Run)
def set_variables(call: Call, run: str) -> Any:
    """Set variables of a run that goes on; what starts after it sees them."""
    once = run_views.keep_whole(call.deps, call.actor, call.once)
    variables.update(call.deps, call.actor, run, call.body["set"], call.body["reason"], once)
    return once.answer or run_views.run(call.deps, call.actor, run)


@bp.post("/bulk")
@bp.view("operate", body=schemas.BulkBody, returns=answers.BulkItems)
def act_on_runs(call: Call) -> Any:
    """Abort, retry, pause or resume all runs that fit a filter; each has its own answer."""
    given = dict(call.body["filter"])
    wanted = RunFilter(labels=tuple(given.pop("label", ())), **given)
    page = PageRequest(limit=call.body["limit"], cursor=call.body["cursor"])
    asked = Bulk(action=call.body["action"], wanted=wanted, reason=call.body["reason"], page=page)
    return bulk.carry_out(call.deps, call.actor, asked, call.once, call.runtime.send)
