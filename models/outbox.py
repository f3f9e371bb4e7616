"""Effects that are not a queued step: they wait here until they are done."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from models.base import At, Base, Id, Json, Moment


class Outbox(Base):
    """One effect to carry out at least once; the row goes when it is done.

    `kind` is `stop`: end the work of an attempt that the engine has given up, at its gateway too. The others
    go between a run and those that it calls, each in a transaction that locks one run: `call` creates the run
    that an attempt waits for, `recall` ends it, `align` pauses and resumes the called runs of `run_id` as it
    is, `ended` tells the caller of `run_id`, `spent` stops or pauses `run_id`, whose budget is spent. `provision`
    writes the files of the agents that `run_id` names.
    """

    __tablename__ = "outbox"
    __table_args__ = (Index(None, "due_at"), Index(None, "run_id"))

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    run_id: Mapped[Id]
    no: Mapped[int] = mapped_column(BigInteger)
    attempt: Mapped[int]
    data: Mapped[Any] = mapped_column(Json)
    tries: Mapped[int]
    created_at: Mapped[At]
    due_at: Mapped[datetime] = mapped_column(Moment)
