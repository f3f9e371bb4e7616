"""`/api/events`: what happened in the workspace, searched and followed."""

from typing import Any

from flask import request

from api import stream
from api.nouns import Call, Nouns
from api.schemas import events as schemas
from orchestrator.services import event_search, watching
from orchestrator.services.event_search import EventFilter
from orchestrator.services.watching import Picked

bp = Nouns("events", __name__, url_prefix="/api/events", tag="events")


@bp.get("")
@bp.view("read", query=schemas.EventsQuery, returns=schemas.WorkspaceEvents)
def search_events(call: Call) -> Any:
    """Search the workspace's events by type, run, workflow and time, newest first."""
    given = {key: value for key, value in call.query.items() if key not in ("limit", "cursor")}
    return event_search.page(call.deps, call.actor, EventFilter(**given), call.page())


@bp.get("/stream")
@bp.view("read", query=schemas.WatchQuery, media="text/event-stream")
def stream_events(call: Call) -> Any:
    """Stream the workspace's events: what came after Last-Event-ID, then live; without it from now on."""
    last = request.headers.get("Last-Event-ID") or call.query.get("after")
    after = watching.place(last) if last else None
    picked = Picked(
        workspace_id=call.actor.workspace_id, types=call.query["types"], run_id=call.query.get("run")
    )
    place = call.runtime.places.take()
    return stream.respond(call.runtime.hub.watch(picked, after), place)
