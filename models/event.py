"""The run's event log: appended, never changed, gone only with its run. And what tells of no run, or only lives."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Integer, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import At, Base, Id, Json, Moment, Name, Xid

# Ids are read from after one of them: those of rows that were purged must not come back.
_NEVER_AGAIN = {"sqlite_autoincrement": True}
_NONE = text("xid > 0")  # no row of SQLite's, where the rowid serves


class Event(Base):
    """One transition or act. `seq` counts from 1 without a gap within its run.

    A trigger refuses UPDATE always, and DELETE while the run's row is there (the migration holds it).
    `xid` is the transaction's that wrote it, or of a later one that wrote to the run before: so events are in
    order by (xid, run, seq), and where no transaction below an xid runs, no event below it is missing.
    """

    __tablename__ = "event"
    __table_args__ = (Index(None, "xid", sqlite_where=_NONE),)

    run_id: Mapped[Id] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    type: Mapped[str] = mapped_column(String(64))
    step: Mapped[str | None] = mapped_column(Text)
    at: Mapped[At]
    actor: Mapped[str | None] = mapped_column(String(255))
    data: Mapped[Any] = mapped_column(Json)
    xid: Mapped[Xid]


class OperationalEvent(Base):
    """What happened to an agent or a gateway, of no run; purged after `EVENT_RETENTION_HOURS`."""

    __tablename__ = "operational_event"
    __table_args__ = (
        Index(None, "workspace_id", "id"),
        Index(None, "at"),
        Index(None, "xid", sqlite_where=_NONE),
        _NEVER_AGAIN,
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    workspace_id: Mapped[Id]
    type: Mapped[str] = mapped_column(String(64))
    at: Mapped[At]
    data: Mapped[Any] = mapped_column(Json)
    xid: Mapped[Xid]


class Subscriber(Base):
    """How far one reader of all events has come. A reader that works outside of transactions holds its place by a
    lease; `error`: why it could not go on, null where it could.
    """

    __tablename__ = "subscriber"

    name: Mapped[Name] = mapped_column(primary_key=True)
    cursor: Mapped[str] = mapped_column(Text)
    moved_at: Mapped[At]
    holder: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None] = mapped_column(Moment)
    error: Mapped[str | None] = mapped_column(Text)


class Chunk(Base):
    """A piece of what a step streams, for those who follow its run now; gone after a minute.

    `id` grows in the order of commits: whoever inserts holds the lock of the table's writers. On PostgreSQL the
    table is not logged: nothing of it is worth a crash's recovery.
    """

    __tablename__ = "chunk"
    __table_args__ = (Index(None, "run_id", "id"), Index(None, "at"), _NEVER_AGAIN)

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    run_id: Mapped[Id]
    type: Mapped[str] = mapped_column(String(64))
    step: Mapped[str] = mapped_column(Text)
    at: Mapped[At]
    data: Mapped[Any] = mapped_column(Json)
