"""From the journal to deliveries: each event once for each webhook that asks for it.

A delivery is noted in the transaction that moves the journal's cursor, so none is lost and none comes twice.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from models.base import dump_json
from models.queries import deliveries, journal, subscribers, webhooks
from models.queries.journal import Entry
from models.queries.webhooks import Listener
from orchestrator.core import event_types
from orchestrator.services.deps import Deps
from orchestrator.services.journal import shown
from orchestrator.services.shapes import moment
from orchestrator.services.swept import BATCH

NAME = "webhooks"
PAGES = 20  # of one sweep


def feed(deps: Deps) -> None:
    """Note what is to be delivered of the events that were written since. One process at a time."""
    for _ in range(PAGES):
        if not _is_behind(deps) or not _page(deps):
            return


def _is_behind(deps: Deps) -> bool:
    """Whether there is anything to write: on SQLite a look must not take the lock of writers."""
    with deps.db.read() as session:
        place = subscribers.look(session, NAME)
        return place is None or place != journal.end(session)


def _page(deps: Deps) -> bool:
    """Read on by a page; whether there is more."""
    with deps.db.transaction() as session:
        place = subscribers.take(session, NAME)
        if place is None:
            return False
        listeners = webhooks.listening(session)
        if not listeners:
            subscribers.move(session, NAME, journal.end(session))
            return False
        page = journal.after(session, place, BATCH, types=_wanted(listeners))
        if page.entries:  # only then is it worth a lock of each that listens
            _match(deps, session, page.entries, webhooks.listening(session, keep=True))
        subscribers.move(session, NAME, page.cursor)
        return page.more


def _wanted(listeners: Iterable[Listener]) -> list[str]:
    return sorted({pattern for listener in listeners for pattern in listener.events})


def _match(deps: Deps, session: Session, entries: Iterable[Entry], listeners: Iterable[Listener]) -> None:
    by_workspace: dict[str, list[Listener]] = defaultdict(list)
    for listener in listeners:
        by_workspace[listener.workspace_id].append(listener)
    pairs = [
        (entry, listener)
        for entry in entries
        for listener in by_workspace.get(entry.workspace_id, ())
        if entry.at >= listener.enabled_at and event_types.matches(listener.events, entry.type)
    ]
    note(deps, session, pairs)


def note(deps: Deps, session: Session, pairs: Sequence[tuple[Entry, Listener]]) -> int:
    """Note deliveries, due now, of events to webhooks that do not have them yet; how many."""
    names = deliveries.workflow_names(session, sorted({entry.run_id for entry, _ in pairs if entry.run_id}))
    rows = [_row(entry, listener, names) for entry, listener in pairs]
    return deliveries.add(session, rows, datetime.fromtimestamp(deps.clock.now(), UTC))


def _row(entry: Entry, listener: Listener, names: Mapping[str, str]) -> dict[str, Any]:
    data = {"run_id": entry.run_id, "workflow": names.get(entry.run_id or ""), "event": shown(entry)}
    return {
        "workspace_id": listener.workspace_id,
        "webhook_id": listener.id,
        "event": _name(entry),
        "type": entry.type,
        "run_id": entry.run_id,
        "seq": entry.seq,
        "body": body(entry.type, entry.at, data),
    }


def _name(entry: Entry) -> str:
    """What tells an event from all others."""
    return f"of none:{entry.cursor.other_id}" if entry.run_id is None else f"{entry.run_id}:{entry.seq}"


def body(type_: str, at: datetime, data: Mapping[str, Any]) -> str:
    """What is sent, as Standard Webhooks has it."""
    return dump_json({"type": type_, "timestamp": moment(at), "data": data})
