"""`/api/runs`: what became of a trigger, and control over it."""

from typing import Any

from flask import Response

from api import stream
from api.nouns import Call, Nouns
from api.schemas import run_answers as answers
from api.schemas import runs as schemas
from api.schemas.common import PageQuery, ReasonBody
from api.schemas.people import SignalBody
from orchestrator.services import feeds, run_views, runs, signals, timeline, undoing
from orchestrator.services.run_views import RunFilter
from orchestrator.services.signals import Sent

bp = Nouns("runs", __name__, url_prefix="/api/runs", tag="runs")
PAGE = 200  # what a plan or a log is read in


@bp.get("")
@bp.view("read", query=schemas.RunsQuery, returns=answers.Runs)
def list_runs(call: Call) -> Any:
    """List runs, newest first, by workflow, status, label, time or parent."""
    given = {key: value for key, value in call.query.items() if key not in ("limit", "cursor", "label")}
    wanted = RunFilter(labels=tuple(call.query.get("label", ())), **given)
    return run_views.runs_page(call.deps, call.actor, wanted, call.page())


@bp.get("/<run>")
@bp.view("read", query=schemas.RunQuery, returns=answers.Run)
def get_run(call: Call, run: str) -> Any:
    """Read a run, with its steps where they are included."""
    steps = call.query.get("include") == "steps"
    return run_views.run(call.deps, call.actor, run, include_steps=steps)


@bp.get("/<run>/steps")
@bp.view("read", query=PageQuery, returns=answers.Steps)
def list_steps(call: Call, run: str) -> Any:
    """List the steps of a run in the order of its plan."""
    return run_views.steps(call.deps, call.actor, run, call.page(PAGE))


@bp.get("/<run>/steps/<path:path>")
@bp.view("read", returns=answers.StepWithAttempts)
def get_step(call: Call, run: str, path: str) -> Any:
    """Read one step with every attempt."""
    return run_views.step(call.deps, call.actor, run, path)


@bp.get("/<run>/events")
@bp.view("read", query=schemas.EventsQuery, returns=answers.Events)
def list_events(call: Call, run: str) -> Any:
    """Read a run's log in order."""
    return run_views.events(call.deps, call.actor, run, after=call.query["after"], request=call.page(PAGE))


@bp.get("/<run>/stream")
@bp.view("read", query=schemas.StreamQuery, media="text/event-stream")
def stream_run(call: Call, run: str) -> Any:
    """Stream a run's events: the log from after Last-Event-ID, then live until the run has ended."""
    after = stream.last_event_id(call.query.get("after", 0))
    feeds.head(call.deps, call.actor, run)
    place = call.runtime.places.take()
    return stream.respond(call.runtime.hub.stream(run, after), place)


@bp.get("/<run>/mermaid")
@bp.view("read", media="text/plain")
def draw_run(call: Call, run: str) -> Any:
    """Draw a run with its steps' statuses as a Mermaid diagram."""
    text = run_views.mermaid(call.deps, call.actor, run)
    return Response(text, content_type="text/plain; charset=utf-8")


@bp.get("/<run>/timeline")
@bp.view("read", query=PageQuery, returns=answers.Timeline)
def list_timeline(call: Call, run: str) -> Any:
    """List the attempts of a run in the order they began, with when they were queued, waited and ended."""
    return timeline.page(call.deps, call.actor, run, call.page(PAGE))


@bp.post("/<run>/pause")
@bp.view("operate", body=ReasonBody, returns=answers.Run)
def pause_run(call: Call, run: str) -> Any:
    """Pause a run: nothing more starts, what runs ends."""
    once = run_views.keep_whole(call.deps, call.actor, call.once)
    call.runtime.send(runs.pause(call.deps, call.actor, run, call.body["reason"], once))
    return once.answer or run_views.run(call.deps, call.actor, run)


@bp.post("/<run>/resume")
@bp.view("operate", body=schemas.ResumeBody, returns=answers.Run)
def resume_run(call: Call, run: str) -> Any:
    """Let a paused run go on."""
    once = run_views.keep_whole(call.deps, call.actor, call.once)
    call.runtime.send(runs.resume(call.deps, call.actor, run, call.body["input"], call.body["budget"], once))
    return once.answer or run_views.run(call.deps, call.actor, run)


@bp.post("/<run>/abort")
@bp.view("operate", body=schemas.AbortBody, returns=answers.Run)
def abort_run(call: Call, run: str) -> Any:
    """Abort a run: what has not started is skipped, what runs is stopped, what is done is undone where asked."""
    once = run_views.keep_whole(call.deps, call.actor, call.once)
    reason, undo = call.body["reason"], call.body["compensate"]
    call.runtime.send(runs.abort(call.deps, call.actor, run, reason, once, compensate=undo))
    return once.answer or run_views.run(call.deps, call.actor, run)


@bp.post("/<run>/compensate")
@bp.view("operate", body=ReasonBody, returns=answers.Run)
def compensate_run(call: Call, run: str) -> Any:
    """Undo what an ended run has done; what could not be undone before is tried again."""
    once = run_views.keep_whole(call.deps, call.actor, call.once)
    call.runtime.send(undoing.compensate(call.deps, call.actor, run, call.body["reason"], once))
    return once.answer or run_views.run(call.deps, call.actor, run)


@bp.post("/<run>/signal")
@bp.view("operate", body=SignalBody, returns=answers.Run)
def signal_run(call: Call, run: str) -> Any:
    """Signal a run: the step that waits for it goes on; kept until one does."""
    once = run_views.keep_whole(call.deps, call.actor, call.once)
    call.runtime.send(signals.to_run(call.deps, call.actor, run, Sent(**call.body), once))
    return once.answer or run_views.run(call.deps, call.actor, run)
