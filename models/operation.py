"""Rows by which the parts of a deployment know of each other: answers kept for repeats, stamps of sweeps."""

from typing import Any

from sqlalchemy import Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from models.base import At, Base, Id, Json, Name


class IdempotentAnswer(Base):
    """The answer to a write that carried an `Idempotency-Key`; inserted first in the write's own transaction."""

    __tablename__ = "idempotent_answer"
    __table_args__ = (Index(None, "created_at"),)

    workspace_id: Mapped[Id] = mapped_column(primary_key=True)
    key: Mapped[Name] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))  # of method, path and body
    status: Mapped[int] = mapped_column(Integer)
    body: Mapped[Any] = mapped_column(Json)
    headers: Mapped[Any] = mapped_column(Json)
    created_at: Mapped[At]


class Stamp(Base):
    """When something last happened: `sweep.<name>` ran, or `clock.origin`, when this stack first started."""

    __tablename__ = "stamp"

    name: Mapped[Name] = mapped_column(primary_key=True)
    at: Mapped[At]
