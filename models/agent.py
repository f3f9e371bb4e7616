"""Agents: the registry, what they keep for a run, and the work of those that have no gateway."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    text,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.base import At, Base, Id, Identifier, Json, Key, Moment, Name


def _partial(name: str, column: str, where: str) -> Index:
    return Index(name, column, postgresql_where=text(where), sqlite_where=text(where))


class Agent(Base):
    """An agent of a workspace. Without a gateway it pulls its work.

    status: what it said last (online, idle, busy, failed, stopped), or `offline` when it said nothing for too long.
    beats: whether it sends heartbeats; one that does not is heard of through its gateway. heartbeats: when the last
    six came, seconds since 1970. queued_task_count: what it says waits at it. max_concurrent: of our steps at
    once. rate_limit: steps begun a minute. capabilities: names. files: workspace files by name, templates.
    """

    __tablename__ = "agent"
    __table_args__ = (
        UniqueConstraint("workspace_id", "name"),
        Index(None, "gateway_id"),
        Index(None, "status", "heartbeat_at"),
    )

    id: Mapped[Key]
    workspace_id: Mapped[Id] = mapped_column(ForeignKey("workspace.id"))
    name: Mapped[Name]
    role: Mapped[str | None] = mapped_column(String(255))
    level: Mapped[str | None] = mapped_column(String(255))
    session_key: Mapped[str | None] = mapped_column(Text)
    capabilities: Mapped[list[str]] = mapped_column(Json)
    workspace_path: Mapped[str | None] = mapped_column(Text)
    gateway_id: Mapped[str | None] = mapped_column(Identifier, ForeignKey("gateway.id"))
    max_concurrent: Mapped[int | None]
    rate_limit: Mapped[int | None]
    files: Mapped[Any] = mapped_column(Json, nullable=True)
    beats: Mapped[bool] = mapped_column(Boolean, server_default=true())
    status: Mapped[str] = mapped_column(String(16))
    queued_task_count: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    heartbeat_at: Mapped[datetime] = mapped_column(Moment)
    heartbeats: Mapped[list[float]] = mapped_column(Json)
    created_at: Mapped[At]
    updated_at: Mapped[At]


class SessionAgent(Base):
    """The agent that keeps a session of a run: its later steps go there."""

    __tablename__ = "session_agent"

    run_id: Mapped[Id] = mapped_column(primary_key=True)
    session: Mapped[str] = mapped_column(Text, primary_key=True)
    agent_id: Mapped[Id]


class Work(Base):
    """A parked attempt that waits for an agent to claim it, or is worked on under a lease.

    agent_id: the agent that it is for; without one any of the role with all the capabilities. rank: lower ones go
    first. claimed_by: the agent that has it until `lease_until`, known by the SHA-256 of its lease token.
    losses: leases that ran out. The row is worth what its step is: only of a step that waits with this attempt.
    """

    __tablename__ = "work"
    __table_args__ = (
        Index(None, "workspace_id", "rank", "offered_at"),
        _partial("ix_work_lease", "lease_until", "lease_until IS NOT NULL"),
        _partial("ix_work_lost", "losses", "losses >= 3"),
        _partial("ix_work_agent", "agent_id", "agent_id IS NOT NULL"),
        _partial("ix_work_claimed", "claimed_by", "claimed_by IS NOT NULL"),
    )

    run_id: Mapped[Id] = mapped_column(primary_key=True)
    no: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    attempt: Mapped[int]
    workspace_id: Mapped[Id]
    agent_id: Mapped[str | None] = mapped_column(Identifier, ForeignKey("agent.id", ondelete="CASCADE"))
    role: Mapped[str | None] = mapped_column(String(255))
    capabilities: Mapped[list[str]] = mapped_column(Json)
    rank: Mapped[int]
    offered_at: Mapped[At]
    claimed_by: Mapped[str | None] = mapped_column(Identifier, ForeignKey("agent.id", ondelete="CASCADE"))
    lease_digest: Mapped[str | None] = mapped_column(String(64), unique=True)
    lease_until: Mapped[datetime | None] = mapped_column(Moment)
    losses: Mapped[int] = mapped_column(Integer, server_default=text("0"))
