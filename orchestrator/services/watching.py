"""What a live stream of a workspace reads: the journal, from a place on."""

from dataclasses import dataclass
from typing import Any

from models.errors import InvalidError, Problem
from models.queries import journal as queries
from models.queries.journal import Cursor, Entry
from orchestrator.core import event_types
from orchestrator.services import journal
from orchestrator.services.deps import Deps

Place = Cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """Which events somebody follows: of a workspace, of some types (none: of all), of one run where it is named."""

    workspace_id: str
    types: tuple[str, ...] = ()
    run_id: str | None = None

    def holds(self, told: "Told") -> bool:
        entry = told.entry
        return (
            entry.workspace_id == self.workspace_id
            and self.run_id in (None, entry.run_id)
            and (not self.types or event_types.matches(self.types, entry.type))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An entry of the journal, and the event as callers see it."""

    entry: Entry
    event: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldPage:
    """Some events in order, the place after them, and whether there are more now."""

    told: tuple[Told, ...]
    place: Place
    more: bool


def end(deps: Deps) -> Place:
    """After all that can be read now."""
    with deps.db.read() as session:
        return queries.end(session)


def after(deps: Deps, place: Place, limit: int, picked: Picked | None = None) -> ToldPage:
    """What comes after a place, of all workspaces where nothing is picked. `limit` bounds what is looked at."""
    types = () if picked is None else picked.types
    with deps.db.read() as session:
        page = queries.after(
            session, place, limit, types=types, workspace_id=None if picked is None else picked.workspace_id
        )
    told = (Told(entry=entry, event=journal.shown(entry)) for entry in page.entries)
    kept = tuple(each for each in told if picked is None or picked.holds(each))
    return ToldPage(told=kept, place=page.cursor, more=page.more)


def place(text: str) -> Place:
    """A place that a stream gave as an event's id. Raises InvalidError."""
    try:
        return Place.parse(text)
    except ValueError as error:
        message = f"{error}; send the id of the last event that you got, or leave it out"
        raise InvalidError(message, [Problem(pointer="", code="INVALID_VALUE", message=message)]) from error
