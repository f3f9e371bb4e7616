"""The search for events, page by page."""

from dataclasses import asdict
from typing import Any

from models.queries import event_search as queries
from models.queries.event_search import EventFilter as EventFilter
from models.queries.journal import Cursor
from orchestrator.services import journal, paging
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.paging import PageRequest
from orchestrator.services.shapes import moment


def page(deps: Deps, actor: Actor, wanted: EventFilter, request: PageRequest) -> dict[str, Any]:
    """`{items, next_cursor}`, newest first. A page may be short, or empty, with more to come: what is rare is looked
    for some thousand events at a time. Raises InvalidError for a cursor of another search.
    """
    asked = asdict(wanted)
    for name in ("after", "before"):
        asked[name] = asked[name] and moment(asked[name])
    scope = ["workspace events", actor.workspace_id, asked]
    place = request.after(scope)
    with deps.db.read() as session:
        before = None if place is None else Cursor.parse(place)
        found = queries.newest(session, actor.workspace_id, wanted, before, request.limit)
    return {
        "items": [journal.shown(entry) for entry in found.entries],
        "next_cursor": None if found.rest is None else paging.cursor(scope, str(found.rest)),
    }
