"""Workspaces and the keys that act in them."""

from datetime import datetime

from sqlalchemy import Double, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from models.base import At, Base, Id, Identifier, Json, Key, Moment, Name


class Workspace(Base):
    """What separates teams: no id of one is seen from another.

    run_retention_days: how long its runs are kept after their end; null: as the settings say.
    """

    __tablename__ = "workspace"

    id: Mapped[Key]
    name: Mapped[Name] = mapped_column(unique=True)
    created_at: Mapped[At]
    run_retention_days: Mapped[float | None] = mapped_column(Double)


class ApiKey(Base):
    """A key, stored as the SHA-256 of its text; `scopes` is a JSON list.

    agent_id: the agent that it belongs to, and acts for alone. expires_at: the end of its grace, when it was rotated.
    """

    __tablename__ = "api_key"
    __table_args__ = (Index(None, "workspace_id", "id"), Index(None, "agent_id"))

    id: Mapped[Key]
    workspace_id: Mapped[Id] = mapped_column(ForeignKey("workspace.id"))
    name: Mapped[Name]
    digest: Mapped[Name] = mapped_column(unique=True)
    scopes: Mapped[list[str]] = mapped_column(Json)
    created_at: Mapped[At]
    revoked_at: Mapped[datetime | None] = mapped_column(Moment)
    agent_id: Mapped[str | None] = mapped_column(Identifier)
    expires_at: Mapped[datetime | None] = mapped_column(Moment)
