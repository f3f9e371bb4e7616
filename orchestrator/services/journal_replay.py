"""Events once more, from the journal: for subscribers that are new, were away for too long, or lost their own data."""

from collections.abc import Iterator
from dataclasses import dataclass

from models.errors import InvalidError, NotFoundError
from models.event import Event
from models.queries import journal, run_views
from models.queries.journal import Cursor, Entry
from orchestrator.bus import Message
from orchestrator.services.bus_feed import PAGE, message
from orchestrator.services.deps import Deps

START = "start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What to replay: a run's events from number `seq` on, or all events after a place of the journal.

    cursor: the id of an event in the workspace's stream, or `start`, for all that is there.
    """

    run_id: str | None = None
    seq: int = 1
    cursor: str = START


def replayed(deps: Deps, replay: Replay) -> Iterator[Message]:
    """The messages as the bus had them, in order, up to the newest. No transaction is open between two.

    Raises NotFoundError for a run that is not there, InvalidError for a cursor that is none.
    """
    if replay.run_id is None:
        return _all(deps, _cursor(replay.cursor))
    return _of_run(deps, replay.run_id, replay.seq)


def _cursor(text: str) -> Cursor:
    try:
        return Cursor(xid=0, other_xid=0) if text == START else Cursor.parse(text)
    except ValueError as error:
        raise InvalidError(f"{error}; write the id of an event in the workspace's stream, or {START}") from error


def _all(deps: Deps, cursor: Cursor) -> Iterator[Message]:
    more = True
    while more:
        with deps.db.read() as session:
            page = journal.after(session, cursor, PAGE)
        yield from map(message, page.entries)
        cursor, more = page.cursor, page.more


def _of_run(deps: Deps, run_id: str, seq: int) -> Iterator[Message]:
    with deps.db.read() as session:
        workspace_id = run_views.workspace(session, run_id)
    if workspace_id is None:
        raise NotFoundError(f"there is no run {run_id!r}")
    after = seq - 1
    while True:
        with deps.db.read() as session:
            rows = run_views.events(session, run_id, after=after, limit=PAGE)
        for row in rows:
            yield message(_entry(workspace_id, row))
        if len(rows) < PAGE:
            return
        after = rows[-1].seq


def _entry(workspace_id: str, row: Event) -> Entry:
    return Entry(
        workspace_id=workspace_id,
        run_id=row.run_id,
        seq=row.seq,
        type=row.type,
        step=row.step,
        at=row.at,
        actor=row.actor,
        data=row.data,
        cursor=Cursor(xid=0, other_xid=0),  # its place among all events is of no use to a message
    )
