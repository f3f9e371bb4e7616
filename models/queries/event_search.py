"""A workspace's events, newest first, by type, run, workflow and time: for people who look for one."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, not_, or_, select, tuple_
from sqlalchemy.orm import Session

from models.event import Event, OperationalEvent
from models.queries import journal
from models.queries.dialect import as_id
from models.queries.journal import Cursor, Entry
from models.run import Run
from models.workflow import Workflow

# Rows that one call looks at: what is rare among many events is found over several pages.
LOOKED_AT = 20_000
_BEGINNING = Cursor(
    xid=10**18 - 1,
    run_id="ffffffff-ffff-ffff-ffff-ffffffffffff",
    seq=10**9 - 1,
    other_xid=10**18 - 1,
    other_id=10**18 - 1,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events; None and () leave a criterion out. `workflow` is an id or a name."""

    types: tuple[str, ...] = ()
    run: str | None = None
    workflow: str | None = None
    after: datetime | None = None
    before: datetime | None = None

    @property
    def of_runs_alone(self) -> bool:
        return self.run is not None or self.workflow is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Some events, newest first; `rest`: where to look on, None when all was looked at."""

    entries: tuple[Entry, ...]
    rest: Cursor | None


def newest(
    session: Session, workspace_id: str, wanted: EventFilter, before: Cursor | None, limit: int
) -> Found:
    """At most `limit` events from before a place, in the order of the journal turned round."""
    place = before or _BEGINNING
    sqlite = session.get_bind().dialect.name == "sqlite"
    bound = None if wanted.run is not None else _bound(session, place, sqlite=sqlite)
    rows = session.execute(_of_runs(workspace_id, wanted, place, bound, limit, sqlite=sqlite)).all()
    others = () if wanted.of_runs_alone else session.execute(_of_none(workspace_id, wanted, place, limit)).all()
    entries: list[Entry] = []
    for row in heapq.merge(rows, others, key=lambda row: row.at, reverse=True):
        if len(entries) == limit:
            return Found(entries=tuple(entries), rest=place)
        place = replace(place, **_step(row))
        entries.append(_entry(row, place))
    if len(rows) == limit or len(others) == limit:
        return Found(entries=tuple(entries), rest=place)
    if bound is None or (wanted.after is not None and bound.at < wanted.after):
        return Found(entries=tuple(entries), rest=None)
    return Found(entries=tuple(entries), rest=_at(place, bound))


def _at(place: Cursor, row: Row[Any]) -> Cursor:
    return replace(place, xid=row.xid, run_id=row.run_id, seq=row.seq)


def _bound(session: Session, place: Cursor, *, sqlite: bool) -> Row[Any] | None:
    """The last row that is looked at; None when fewer are left."""
    order = [column.desc() for column in journal.order(sqlite=sqlite)]
    columns = (journal.number(sqlite=sqlite).label("xid"), Event.run_id, Event.seq, Event.at)
    query = select(*columns).where(_earlier(place, sqlite=sqlite)).order_by(*order)
    return session.execute(query.offset(LOOKED_AT - 1).limit(1)).one_or_none()


def _of_runs(
    workspace_id: str,
    wanted: EventFilter,
    place: Cursor,
    bound: Row[Any] | None,
    limit: int,
    *,
    sqlite: bool,
) -> Any:
    number = journal.number(sqlite=sqlite)
    columns = (Event.run_id, Event.seq, Event.type, Event.step, Event.at, Event.actor, Event.data)
    query = (
        select(*columns, number.label("xid"), Run.workspace_id)
        .join(Run, Run.id == Event.run_id)
        .where(Run.workspace_id == workspace_id, *_narrowed(Event, wanted))
        .limit(limit)
    )
    if wanted.run is not None:
        seq = place.seq if place.run_id == wanted.run else _BEGINNING.seq
        return query.where(Event.run_id == as_id(wanted.run), Event.seq < seq).order_by(Event.seq.desc())
    query = query.where(_earlier(place, sqlite=sqlite))
    query = query.order_by(*(column.desc() for column in journal.order(sqlite=sqlite)))
    if bound is not None:
        query = query.where(not_(_earlier(_at(place, bound), sqlite=sqlite)))
    if wanted.workflow is not None:
        named = or_(Workflow.name == wanted.workflow, Workflow.id == as_id(wanted.workflow))
        mine = select(Workflow.id).where(Workflow.workspace_id == workspace_id, named)
        query = query.where(Run.workflow_id.in_(mine))
    return query


def _of_none(workspace_id: str, wanted: EventFilter, place: Cursor, limit: int) -> Any:
    table = OperationalEvent
    return (
        select(table.id, table.workspace_id, table.type, table.at, table.data)
        .where(table.workspace_id == workspace_id, table.id < place.other_id, *_narrowed(table, wanted))
        .order_by(table.id.desc())
        .limit(limit)
    )


def _narrowed(
    table: type[Event] | type[OperationalEvent], wanted: EventFilter
) -> Sequence[ColumnElement[bool]]:
    typed = journal.typed(table.type, wanted.types)
    return (
        *([] if typed is None else [typed]),
        *([] if wanted.after is None else [table.at > wanted.after]),
        *([] if wanted.before is None else [table.at < wanted.before]),
    )


def _earlier(place: Cursor, *, sqlite: bool) -> ColumnElement[bool]:
    number: ColumnElement[int] = journal.number(sqlite=sqlite)
    if sqlite:
        return number < place.xid
    inside = tuple_(Event.run_id, Event.seq) < journal.pair(place)
    return and_(number <= place.xid, or_(number < place.xid, inside))


def _step(row: Row[Any]) -> dict[str, Any]:
    if hasattr(row, "id"):
        return {"other_id": row.id}
    return {"xid": row.xid, "run_id": row.run_id, "seq": row.seq}


def _entry(row: Row[Any], place: Cursor) -> Entry:
    told = {name: value for name, value in row._mapping.items() if name not in ("xid", "id")}
    return Entry(**told, cursor=place)
