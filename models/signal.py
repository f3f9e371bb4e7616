"""Signals from outside, and the steps that wait for them."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text, false, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import At, Base, Id, Identifier, Json, Key, Moment


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    return Index(name, *columns, unique=unique, postgresql_where=text(where), sqlite_where=text(where))


class Signal(Base):
    """A signal as it came: for the run `run_id`, or, where it has a `key`, for whoever waits for (name, key).

    `sender_id` is the sender's own number of it: the first of a number counts. `taken_run_id`, `taken_no` and
    `taken_attempt` name the attempt that it is for; null: it is kept until one waits for it.
    """

    __tablename__ = "signal"
    __table_args__ = (
        _partial("uq_signal_of_run", "run_id", "name", "sender_id", where="run_id IS NOT NULL", unique=True),
        _partial(
            "uq_signal_of_key", "workspace_id", "name", "key", "sender_id", where="key IS NOT NULL", unique=True
        ),
        _partial(
            "uq_signal_taken",
            "taken_run_id",
            "taken_no",
            "taken_attempt",
            where="taken_run_id IS NOT NULL",
            unique=True,
        ),
        _partial("ix_signal_unclaimed", "workspace_id", "id", where="key IS NOT NULL AND taken_run_id IS NULL"),
        _partial("ix_signal_kept", "workspace_id", "name", "key", "id", where="taken_run_id IS NULL"),
    )

    id: Mapped[Key]
    workspace_id: Mapped[Id]
    run_id: Mapped[str | None] = mapped_column(Identifier, ForeignKey("run.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(255))
    key: Mapped[str | None] = mapped_column(Text)
    sender_id: Mapped[str | None] = mapped_column(String(255))
    data: Mapped[Any] = mapped_column(Json, nullable=True)
    sent_by: Mapped[str | None] = mapped_column(String(255))
    sent_at: Mapped[At]
    taken_run_id: Mapped[str | None] = mapped_column(Identifier)
    taken_no: Mapped[int | None] = mapped_column(BigInteger)
    taken_attempt: Mapped[int | None] = mapped_column(Integer)


class AwaitedSignal(Base):
    """What one attempt of a `signal` step waits for, while that attempt waits.

    `expires_at` is of the virtual clock; `expired`: its time was over before a signal came.
    """

    __tablename__ = "awaited_signal"
    __table_args__ = (
        _partial("ix_awaited_signal_key", "workspace_id", "name", "key", where="key IS NOT NULL"),
    )

    run_id: Mapped[Id] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    no: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    workspace_id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(255))
    key: Mapped[str | None] = mapped_column(Text)
    schema: Mapped[Any] = mapped_column(Json, nullable=True)
    awaited_at: Mapped[At]
    expires_at: Mapped[datetime | None] = mapped_column(Moment)
    expired: Mapped[bool] = mapped_column(server_default=false())
