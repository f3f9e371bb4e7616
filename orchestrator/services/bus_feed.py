"""The sweep that hands the journal's events to the event bus: read, published outside of transactions, then moved on.

At least once: what was published when the process died before it moved on is published again. In order: one process
holds the place at a time, and each call to the bus is bounded by less than the lease.
"""

import json
import secrets
import time
from collections.abc import Iterator, Sequence

import structlog

from models.errors import OrchestratorError
from models.queries import held_places, journal, subscribers
from models.queries.journal import Entry, Page
from orchestrator.bus import EventBus, Message
from orchestrator.services.crash import crash_point
from orchestrator.services.deps import Deps
from orchestrator.services.journal import shown
from orchestrator.services.swept import Swept

_log = structlog.get_logger(__name__)
NAME = "bus"
PAGE = 500
LEASE_SECONDS = 15.0  # more than the longest call to a bus
REST_SECONDS = 2.0  # before a bus that did not answer is tried again, by whatever process
SWEEP_SECONDS = 2.0  # of one sweep, while there is more
BATCH_BYTES = 1 << 20
MESSAGE_BYTES = 512 << 10  # NATS takes 1 MiB


def feed(deps: Deps) -> Swept:
    """Publish what the journal has after the bus's place. A bus that is away leaves the place where it is."""
    if deps.settings.bus is None or not _anything(deps):
        return Swept()
    holder = secrets.token_hex(16)
    with deps.db.transaction() as session:
        place = held_places.hold(session, NAME, holder, LEASE_SECONDS)
        error = held_places.error(session, NAME)
    if place is None:
        return Swept()
    try:
        found = _drain(deps, deps.bus, holder, place)
    except OrchestratorError as refusal:
        with deps.db.transaction() as session:
            held_places.let_go(session, NAME, holder, str(refusal), REST_SECONDS)
        if error is None:
            _log.warning("the event bus is away; events wait in the journal", error=str(refusal))
        return Swept()
    with deps.db.transaction() as session:
        held_places.let_go(session, NAME, holder)
    if error is not None:
        _log.info("the event bus is back", events=found)
    return Swept(found=found)


def message(entry: Entry) -> Message:
    """An event as it travels: as the API shows it, with its workspace. One that is too long goes without its data."""
    event = {**shown(entry), "workspace_id": entry.workspace_id}
    body = _text(event)
    if len(body.encode()) > MESSAGE_BYTES:
        body = _text({**event, "data": {"omitted_bytes": len(_text(entry.data).encode())}})
    return Message(
        id=f"event:{entry.cursor.other_id}" if entry.run_id is None else f"{entry.run_id}:{entry.seq}",
        type=entry.type,
        workspace_id=entry.workspace_id,
        run_id=entry.run_id,
        body=body,
    )


def _anything(deps: Deps) -> bool:
    with deps.db.read() as session:
        place = subscribers.look(session, NAME)
        if place is None:
            return True
        page = journal.after(session, place, 1)
        return page.more or bool(page.entries)  # what is next may be of a run that has left


def _drain(deps: Deps, bus: EventBus | None, holder: str, place: journal.Cursor) -> int:
    found, until = 0, time.monotonic() + SWEEP_SECONDS
    while True:
        with deps.db.read() as session:
            page = journal.after(session, place, PAGE)
        if not _publish(deps, bus, holder, place, page):
            _log.warning("the bus's place was taken meanwhile; events may come twice")
            return found
        found, place = found + len(page.entries), page.cursor
        if not page.more or time.monotonic() > until:
            return found


def _publish(deps: Deps, bus: EventBus | None, holder: str, place: journal.Cursor, page: Page) -> bool:
    """Publish a page and move on; False where another one has the place by now."""
    for number, batch in enumerate(_batches([message(entry) for entry in page.entries])):
        if number > 0:  # the lease of the first is fresh
            with deps.db.transaction() as session:
                if not held_places.go_on(session, NAME, holder, (place, place), LEASE_SECONDS):
                    return False
        if bus is not None:
            bus.publish(batch)
        crash_point("mid_bus")
    with deps.db.transaction() as session:
        return held_places.go_on(session, NAME, holder, (place, page.cursor), LEASE_SECONDS)


def _batches(messages: Sequence[Message]) -> Iterator[list[Message]]:
    batch: list[Message] = []
    size = 0
    for each in messages:
        if batch and size + len(each.body) > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += len(each.body)
    if batch:
        yield batch


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
