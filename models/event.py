"""The run's event log: appended, never changed, gone only with its run."""

from typing import Any

from sqlalchemy import Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import At, Base, Id, Json


class Event(Base):
    """One transition or act. `seq` counts from 1 without a gap within its run.

    A trigger refuses UPDATE always, and DELETE while the run's row is there (the migration holds it).
    """

    __tablename__ = "event"

    run_id: Mapped[Id] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    type: Mapped[str] = mapped_column(String(64))
    step: Mapped[str | None] = mapped_column(Text)
    at: Mapped[At]
    actor: Mapped[str | None] = mapped_column(String(255))
    data: Mapped[Any] = mapped_column(Json)
