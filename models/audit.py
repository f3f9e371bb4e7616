"""The audit log: who did what, when and why; and the chain of digests that shows whether it was changed."""

from typing import Any

from sqlalchemy import BigInteger, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import At, Base, Id, Identifier, Json, Key


class Audit(Base):
    """One act of a person or key, written in the act's own transaction. A trigger refuses UPDATE, DELETE, TRUNCATE.

    actor_id: the key's id, or what stands for it where somebody acts without one; actor: its name. source: the
    address that the call came from. before, after: SHA-256 in hex of the canonical JSON of what was acted on.
    changes: [{field, from, to}], whose nested values are left out.
    """

    __tablename__ = "audit"
    __table_args__ = (
        Index(None, "workspace_id", "id"),
        Index(None, "workspace_id", "target", "id"),
        Index(None, "workspace_id", "actor", "id"),
        Index(None, "workspace_id", "actor_id", "id"),
        Index(None, "workspace_id", "action", "id"),
    )

    id: Mapped[Key]
    workspace_id: Mapped[Id]
    at: Mapped[At]
    actor_id: Mapped[str] = mapped_column(String(255))
    actor: Mapped[str] = mapped_column(String(255))
    source: Mapped[str | None] = mapped_column(String(255))
    action: Mapped[str] = mapped_column(String(64))
    target: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    before: Mapped[str | None] = mapped_column(String(64))
    after: Mapped[str | None] = mapped_column(String(64))
    changes: Mapped[Any] = mapped_column(Json)


class AuditUnsealed(Base):
    """An act that the chain does not have yet; its row is written with the act's and goes when it is sealed."""

    __tablename__ = "audit_unsealed"

    audit_id: Mapped[Key]


class AuditSeal(Base):
    """A link of the chain: `digest` is of `previous` and the whole row of `audit_id`.

    `position` counts from 1 without a gap, in the order of sealing. As append-only as `audit`.
    """

    __tablename__ = "audit_seal"

    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    audit_id: Mapped[str] = mapped_column(Identifier, unique=True)
    digest: Mapped[str] = mapped_column(String(64))
    previous: Mapped[str] = mapped_column(String(64))
    sealed_at: Mapped[At]
