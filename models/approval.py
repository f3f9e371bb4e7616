"""What people are asked for: approvals, the votes on them, and who is asked."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import At, Base, Id, Json, JsonValue, Key, Moment

_UNDECIDED = text("decided_at IS NULL")


class Approval(Base):
    """What one attempt of an `approval` step waits for.

    It is open while it is not decided and its attempt waits; nothing has to close it when its run ends.
    `decision` is `approved` or `rejected`; null with a `decided_at`: it expired, and nobody decides any more.
    `expired`: its time decided, not people. `expires_at` is of the virtual clock.
    """

    __tablename__ = "approval"
    __table_args__ = (
        UniqueConstraint("run_id", "no", "attempt"),
        Index(None, "workspace_id", "id"),
        Index(
            "ix_approval_undecided",
            "workspace_id",
            "id",
            postgresql_where=_UNDECIDED,
            sqlite_where=_UNDECIDED,
        ),
    )

    id: Mapped[Key]
    workspace_id: Mapped[Id]
    run_id: Mapped[Id] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    no: Mapped[int] = mapped_column(BigInteger)
    attempt: Mapped[int] = mapped_column(Integer)
    step: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text)
    form: Mapped[Any] = mapped_column(Json, nullable=True)
    assignees: Mapped[JsonValue]
    required: Mapped[int] = mapped_column(Integer)
    on_expiry: Mapped[str] = mapped_column(String(16))  # reject | approve | fail
    requested_at: Mapped[At]
    expires_at: Mapped[datetime | None] = mapped_column(Moment)
    decided_at: Mapped[datetime | None] = mapped_column(Moment)
    decision: Mapped[str | None] = mapped_column(String(16))
    expired: Mapped[bool] = mapped_column(server_default=false())


class ApprovalVote(Base):
    """One voter's vote. `voter` is the key's id, or `link:` and the token's number; `name` is for people.

    `clock_at` is the virtual clock's time of it, by which it came before the approval's expiry.
    """

    __tablename__ = "approval_vote"

    approval_id: Mapped[Id] = mapped_column(ForeignKey("approval.id", ondelete="CASCADE"), primary_key=True)
    voter: Mapped[str] = mapped_column(String(64), primary_key=True)
    place: Mapped[int] = mapped_column(Integer)
    name: Mapped[str] = mapped_column(String(255))
    decision: Mapped[str] = mapped_column(String(16))
    comment: Mapped[str | None] = mapped_column(Text)
    data: Mapped[Any] = mapped_column(Json, nullable=True)
    voted_at: Mapped[At]
    clock_at: Mapped[At]


class ApprovalAssignee(Base):
    """Somebody who is asked, for the inbox's filter."""

    __tablename__ = "approval_assignee"
    __table_args__ = (Index(None, "name", "approval_id"),)

    approval_id: Mapped[Id] = mapped_column(ForeignKey("approval.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
