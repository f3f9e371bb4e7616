"""Hooks: addresses at which others start workflows and signal runs."""

from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import At, Base, Id, Identifier, Json, Key, Name


class Hook(Base):
    """An address of a workspace: what comes there starts `workflow_id`, or is the signal {name, run or key}.

    nonce: what the token of its address is derived from, which is kept as `digest` alone; secret: encrypted.
    mapping, dedup: values with references to what came; null: the body as it is, and no number of it.
    """

    __tablename__ = "hook"
    __table_args__ = (UniqueConstraint("workspace_id", "name"),)

    id: Mapped[Key]
    workspace_id: Mapped[Id] = mapped_column(ForeignKey("workspace.id"))
    name: Mapped[Name]
    workflow_id: Mapped[str | None] = mapped_column(Identifier, ForeignKey("workflow.id"))
    signal: Mapped[Any] = mapped_column(Json, nullable=True)
    scheme: Mapped[str] = mapped_column(String(32))  # none | standard-webhooks | github
    nonce: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    secret: Mapped[str | None] = mapped_column(Text)
    mapping: Mapped[Any] = mapped_column(Json, nullable=True)
    dedup: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[At]
    updated_at: Mapped[At]


class HookDelivery(Base):
    """What came to a hook under a number of the sender's, as the SHA-256 of that; kept for 7 days.

    answer: what was made of it; null while the transaction that makes it goes on.
    """

    __tablename__ = "hook_delivery"
    __table_args__ = (Index(None, "created_at"),)

    hook_id: Mapped[Id] = mapped_column(ForeignKey("hook.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[str] = mapped_column(String(64), primary_key=True)
    answer: Mapped[Any] = mapped_column(Json, nullable=True)
    created_at: Mapped[At]
