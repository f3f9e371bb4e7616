"""Schedules, what became of each of their fire times, and backfills."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import At, Base, Id, Json, JsonValue, Key, Moment, Name

_DUE = text("due_at IS NOT NULL")
_OF_PLAN = text("kind <> 'manual'")
_QUEUED = text("outcome = 'queued' AND kind <> 'backfill'")
_UNFINISHED = text("finished_at IS NULL")


class Schedule(Base):
    """When runs of a workflow are started. Its fire times are of the virtual clock.

    One of `cron`, `interval` (a duration, as given) and `rrule` is not null. `anchor_at`: what intervals count from.
    `next_fire_at`: the next fire time, null once there is none. `due_at`: when it fires, which is its jitter later;
    null while the schedule is paused, too. `version` null: the current one. The counters are of fire times.
    """

    __tablename__ = "schedule"
    __table_args__ = (
        UniqueConstraint("workspace_id", "name"),
        Index("ix_schedule_due_at", "due_at", postgresql_where=_DUE, sqlite_where=_DUE),
    )

    id: Mapped[Key]
    workspace_id: Mapped[Id] = mapped_column(ForeignKey("workspace.id"))
    workflow_id: Mapped[Id] = mapped_column(ForeignKey("workflow.id"))
    name: Mapped[Name]
    version: Mapped[int | None] = mapped_column(Integer)
    cron: Mapped[str | None] = mapped_column(Text)
    interval: Mapped[Any] = mapped_column(Json, nullable=True)
    rrule: Mapped[str | None] = mapped_column(Text)
    timezone: Mapped[str] = mapped_column(String(64))
    starts_at: Mapped[datetime | None] = mapped_column(Moment)
    ends_at: Mapped[datetime | None] = mapped_column(Moment)
    anchor_at: Mapped[At]
    inputs: Mapped[JsonValue]
    variables: Mapped[JsonValue]
    labels: Mapped[JsonValue]
    priority: Mapped[int] = mapped_column(Integer)
    overlap: Mapped[str] = mapped_column(String(16))
    catch_up: Mapped[JsonValue]
    jitter: Mapped[JsonValue]
    next_fire_at: Mapped[datetime | None] = mapped_column(Moment)
    due_at: Mapped[datetime | None] = mapped_column(Moment)
    last_fire_at: Mapped[datetime | None] = mapped_column(Moment)
    paused_at: Mapped[datetime | None] = mapped_column(Moment)
    started: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    skipped: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    refused: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    missed: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    created_by: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[At]
    updated_at: Mapped[At]


class ScheduleBackfill(Base):
    """Fire times of the past that are made up, at most `max_parallel` runs at once; `total` of them."""

    __tablename__ = "schedule_backfill"
    __table_args__ = (
        Index(None, "schedule_id", "id"),
        Index("ix_schedule_backfill_open", "id", postgresql_where=_UNFINISHED, sqlite_where=_UNFINISHED),
    )

    id: Mapped[Key]
    schedule_id: Mapped[Id] = mapped_column(ForeignKey("schedule.id", ondelete="CASCADE"))
    from_at: Mapped[At]
    to_at: Mapped[At]
    max_parallel: Mapped[int] = mapped_column(Integer)
    total: Mapped[int] = mapped_column(Integer)
    created_by: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[At]
    finished_at: Mapped[datetime | None] = mapped_column(Moment)


class ScheduleFire(Base):
    """What became of one fire time, of which a schedule has one row, whoever made it: beats, backfills.

    A manual one is beside the plan and may be at any moment. `live`: its run may go on still; it is taken back once
    the run was seen to have ended. The run has no constraint here, and may be gone.
    """

    __tablename__ = "schedule_fire"
    __table_args__ = (
        Index(
            "uq_schedule_fire_of_plan",
            "schedule_id",
            "fire_at",
            unique=True,
            postgresql_where=_OF_PLAN,
            sqlite_where=_OF_PLAN,
        ),
        Index(None, "schedule_id", "fire_at", "id"),
        Index(
            "ix_schedule_fire_queued",
            "schedule_id",
            "fire_at",
            postgresql_where=_QUEUED,
            sqlite_where=_QUEUED,
        ),
        # said as the queries say it on each database, so that it serves them
        Index(
            "ix_schedule_fire_live",
            "schedule_id",
            "id",
            postgresql_where=text("live IS true"),
            sqlite_where=text("live IS 1"),
        ),
        Index(None, "backfill_id", "outcome", "fire_at"),
    )

    id: Mapped[Key]
    schedule_id: Mapped[Id] = mapped_column(ForeignKey("schedule.id", ondelete="CASCADE"))
    fire_at: Mapped[At]
    kind: Mapped[str] = mapped_column(String(16))  # planned | manual | backfill
    outcome: Mapped[str] = mapped_column(String(16))  # started | queued | skipped | refused
    live: Mapped[bool]
    run_id: Mapped[Id | None]
    backfill_id: Mapped[Id | None]
    error: Mapped[Any] = mapped_column(Json, nullable=True)  # {code, message}
    created_at: Mapped[At]
