"""Gateways: where agents are reached."""

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String, Text, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import At, Base, Id, Key, Moment, Name


class Gateway(Base):
    """A gateway of a workspace. `kind` names its driver; `token` and `device_token` are encrypted.

    url: null where the driver finds it by itself. failures: pings and dispatches that failed in a row; the third
    makes it `unhealthy`. error: why the last one failed. is_default: it takes the agents that are not registered.
    """

    __tablename__ = "gateway"
    __table_args__ = (UniqueConstraint("workspace_id", "name"), Index(None, "checked_at"))

    id: Mapped[Key]
    workspace_id: Mapped[Id] = mapped_column(ForeignKey("workspace.id"))
    name: Mapped[Name]
    kind: Mapped[str] = mapped_column(String(64))
    url: Mapped[str | None] = mapped_column(Text)
    token: Mapped[str | None] = mapped_column(Text)
    device_token: Mapped[str | None] = mapped_column(Text)
    is_default: Mapped[bool] = mapped_column(Boolean, server_default=false())
    status: Mapped[str] = mapped_column(String(16))  # unknown | healthy | unhealthy
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    error: Mapped[str | None] = mapped_column(Text)
    version: Mapped[str | None] = mapped_column(String(255))
    checked_at: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[At]
    updated_at: Mapped[At]
