"""All events in one order: those of runs and those of none, for whoever follows every one of them.

PostgreSQL: by (xid, run, seq), below the oldest transaction that still runs, so that none appears later among
what was read. SQLite: by rowid, since one writer at a time commits. In order within a run. Source: spec "engine",
Two kinds of events.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar, Self

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Row,
    Select,
    Text,
    and_,
    cast,
    func,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from models.event import Event, OperationalEvent
from models.run import Run

_FIRST = "00000000-0000-0000-0000-000000000000"
_ROWID: ColumnElement[int] = literal_column("event.rowid", BigInteger)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A place in the journal: what comes after the event `seq` of run `run_id`, written under `xid`, and after the
    event `other_id` of no run, written under `other_xid`. On SQLite `xid` is a rowid, and the rest of it empty.
    """

    xid: int
    run_id: str = _FIRST
    seq: int = 0
    other_xid: int
    other_id: int = 0

    _FORM: ClassVar[re.Pattern[str]] = re.compile(
        r"([0-9]{1,18})\.([0-9a-f-]{36})\.([0-9]{1,9})\.([0-9]{1,18})\.([0-9]{1,18})", re.ASCII
    )

    def __str__(self) -> str:
        return f"{self.xid}.{self.run_id}.{self.seq}.{self.other_xid}.{self.other_id}"

    @property
    def _of_runs(self) -> tuple[int, str, int]:
        return self.xid, self.run_id, self.seq

    @property
    def _of_none(self) -> tuple[int, int]:
        return self.other_xid, self.other_id

    def covers(self, entry: "Entry") -> bool:
        """Whether an entry comes before this place, or at it."""
        if entry.run_id is None:
            return entry.cursor._of_none <= self._of_none
        return entry.cursor._of_runs <= self._of_runs

    def joined(self, other: Self) -> Self:
        """After what either comes after."""
        xid, run_id, seq = max(self._of_runs, other._of_runs)
        other_xid, other_id = max(self._of_none, other._of_none)
        return replace(self, xid=xid, run_id=run_id, seq=seq, other_xid=other_xid, other_id=other_id)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The cursor that was written so. Raises ValueError."""
        found = cls._FORM.fullmatch(text)
        if found is None or not _ID.fullmatch(found[2]):
            raise ValueError(f"{text[:40]!r} is no cursor of the journal")
        xid, run_id, seq, other_xid, other_id = found.groups()
        return cls(
            xid=int(xid), run_id=run_id, seq=int(seq), other_xid=int(other_xid), other_id=int(other_id)
        )


_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An event of a run, or of none: then `run_id`, `seq` and `step` are None. `cursor`: what comes after it."""

    workspace_id: str
    run_id: str | None = None
    seq: int | None = None
    type: str
    step: str | None = None
    at: datetime
    actor: str | None = None
    data: Any
    cursor: Cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some entries in order; `cursor`: where to go on, also past what did not match; `more`: there is more now."""

    entries: tuple[Entry, ...]
    cursor: Cursor
    more: bool


def end(session: Session) -> Cursor:
    """After all that can be read now."""
    if _is_sqlite(session):
        last = session.scalar(select(func.coalesce(func.max(_ROWID), 0)).select_from(Event))
        return Cursor(xid=last or 0, other_xid=0, other_id=_newest_other(session))
    horizon = _horizon(session)
    return Cursor(xid=horizon, other_xid=horizon)


def after(
    session: Session,
    cursor: Cursor,
    limit: int,
    *,
    types: Sequence[str] = (),
    workspace_id: str | None = None,
) -> Page:
    """What comes after a cursor, of some types (`run.*`; none: of all) and one workspace: of runs, then of none.

    `limit` bounds the events of runs that are looked at, and those of none that are returned.
    """
    sqlite = _is_sqlite(session)
    horizon = 0 if sqlite else _horizon(session)
    upto, full = _upto(session, cursor, limit, horizon)
    rows = session.execute(_of_runs(cursor, upto, types, workspace_id, sqlite=sqlite)).all()
    newest = _newest_other(session) if sqlite else 0
    others = session.execute(_of_none(cursor, limit, horizon, types, workspace_id, sqlite=sqlite)).all()
    entries, place = [], cursor
    for row in rows:
        place = replace(place, **_place(row, sqlite=sqlite))
        entries.append(_entry(row, place))
    place = upto
    for row in others:
        place = replace(place, other_xid=0 if sqlite else row.xid, other_id=row.id)
        entries.append(_other(row, place))
    more_others = len(others) == limit
    if not more_others:
        place = replace(place, other_xid=horizon, other_id=max(newest, cursor.other_id) if sqlite else 0)
    return Page(entries=tuple(entries), cursor=place, more=full or more_others)


def typed(column: InstrumentedAttribute[str], patterns: Sequence[str]) -> ColumnElement[bool] | None:
    """Whether a type is one of the patterns; None where every one is."""
    if not patterns or "*" in patterns:
        return None
    exact = [pattern for pattern in patterns if not pattern.endswith(".*")]
    prefixes = [pattern.removesuffix("*") for pattern in patterns if pattern.endswith(".*")]
    return or_(column.in_(exact), *(column.startswith(prefix, autoescape=True) for prefix in prefixes))


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"


def _newest_other(session: Session) -> int:
    return session.scalar(select(func.max(OperationalEvent.id))) or 0


def _horizon(session: Session) -> int:
    """The oldest transaction that still runs; those that will begin are later ones."""
    xmin = func.pg_snapshot_xmin(func.pg_current_snapshot())
    return session.execute(select(cast(cast(xmin, Text), BigInteger))).scalar_one()


def _upto(session: Session, cursor: Cursor, limit: int, horizon: int) -> tuple[Cursor, bool]:
    """Where `limit` events of runs after the cursor end, and whether there are so many."""
    sqlite = _is_sqlite(session)
    place = (number(sqlite=sqlite), Event.run_id, Event.seq)
    query = select(*(column.label(name) for column, name in zip(place, ("xid", "run_id", "seq"), strict=True)))
    query = query.where(_past(cursor, sqlite=sqlite)).order_by(*order(sqlite=sqlite))
    if not sqlite:
        query = query.where(Event.xid < horizon)
    last = session.execute(query.offset(limit - 1).limit(1)).one_or_none()
    if last is not None:
        return replace(cursor, **_place(last, sqlite=sqlite)), True
    if not sqlite:
        return replace(cursor, xid=horizon, run_id=_FIRST, seq=0), False
    newest = session.scalar(select(func.max(_ROWID)).select_from(Event)) or 0
    return replace(cursor, xid=max(newest, cursor.xid)), False


def _of_runs(
    cursor: Cursor, upto: Cursor, types: Sequence[str], workspace_id: str | None, *, sqlite: bool
) -> Select[Any]:
    place = number(sqlite=sqlite)
    until: ColumnElement[bool] = place <= upto.xid
    if not sqlite:
        inside = tuple_(Event.run_id, Event.seq) <= pair(upto)
        until = and_(until, or_(Event.xid < upto.xid, inside))
    columns = (Event.run_id, Event.seq, Event.type, Event.step, Event.at, Event.actor, Event.data)
    query = (
        select(*columns, place.label("xid"), Run.workspace_id)
        .join(Run, Run.id == Event.run_id)
        .where(_past(cursor, sqlite=sqlite), until)
        .order_by(*order(sqlite=sqlite))
    )
    wanted = typed(Event.type, types)
    query = query if wanted is None else query.where(wanted)
    return query if workspace_id is None else query.where(Run.workspace_id == workspace_id)


def _of_none(
    cursor: Cursor,
    limit: int,
    horizon: int,
    types: Sequence[str],
    workspace_id: str | None,
    *,
    sqlite: bool,
) -> Select[Any]:
    table = OperationalEvent
    query = select(table.id, table.workspace_id, table.type, table.at, table.data, table.xid).limit(limit)
    if sqlite:
        query = query.where(table.id > cursor.other_id).order_by(table.id)
    else:
        inside = or_(table.xid > cursor.other_xid, table.id > cursor.other_id)
        query = query.where(table.xid >= cursor.other_xid, inside, table.xid < horizon)
        query = query.order_by(table.xid, table.id)
    wanted = typed(table.type, types)
    query = query if wanted is None else query.where(wanted)
    return query if workspace_id is None else query.where(table.workspace_id == workspace_id)


def number(*, sqlite: bool) -> Any:
    """What events of runs are in order of in the first place."""
    return _ROWID if sqlite else Event.xid


def order(*, sqlite: bool) -> tuple[Any, ...]:
    """The columns that events of runs are in order of."""
    return (_ROWID,) if sqlite else (Event.xid, Event.run_id, Event.seq)


def _past(cursor: Cursor, *, sqlite: bool) -> ColumnElement[bool]:
    if sqlite:
        return cursor.xid < _ROWID
    inside = or_(Event.xid > cursor.xid, tuple_(Event.run_id, Event.seq) > pair(cursor))
    return and_(Event.xid >= cursor.xid, inside)


def pair(cursor: Cursor) -> Any:
    """A cursor's place among the events of one transaction."""
    return tuple_(cast(literal(cursor.run_id), Event.run_id.type), cursor.seq)


def _place(row: Any, *, sqlite: bool) -> dict[str, Any]:
    return {"xid": row.xid} if sqlite else {"xid": row.xid, "run_id": row.run_id, "seq": row.seq}


def _entry(row: Row[Any], cursor: Cursor) -> Entry:
    told = {name: value for name, value in row._mapping.items() if name != "xid"}
    return Entry(**told, cursor=cursor)


def _other(row: Row[Any], cursor: Cursor) -> Entry:
    return Entry(workspace_id=row.workspace_id, type=row.type, at=row.at, data=row.data, cursor=cursor)
