"""Schedules, their fire times and backfills."""

import sqlalchemy as sa
from alembic import op

from models.base import Identifier, Json, Moment

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "schedule",
        _key(),
        sa.Column("workspace_id", Identifier, sa.ForeignKey("workspace.id"), nullable=False),
        sa.Column("workflow_id", Identifier, sa.ForeignKey("workflow.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("version", sa.Integer),
        sa.Column("cron", sa.Text),
        sa.Column("interval", Json),
        sa.Column("rrule", sa.Text),
        sa.Column("timezone", sa.String(64), nullable=False),
        sa.Column("starts_at", Moment),
        sa.Column("ends_at", Moment),
        sa.Column("anchor_at", Moment, nullable=False),
        sa.Column("inputs", Json, nullable=False),
        sa.Column("variables", Json, nullable=False),
        sa.Column("labels", Json, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("overlap", sa.String(16), nullable=False),
        sa.Column("catch_up", Json, nullable=False),
        sa.Column("jitter", Json, nullable=False),
        sa.Column("next_fire_at", Moment),
        sa.Column("due_at", Moment),
        sa.Column("last_fire_at", Moment),
        sa.Column("paused_at", Moment),
        *(_counter(name) for name in ("started", "skipped", "refused", "missed")),
        sa.Column("created_by", sa.String(255)),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        sa.UniqueConstraint("workspace_id", "name"),
    )
    _partial_index("ix_schedule_due_at", "schedule", ["due_at"], "due_at IS NOT NULL")
    op.create_table(
        "schedule_backfill",
        _key(),
        _of_schedule(),
        sa.Column("from_at", Moment, nullable=False),
        sa.Column("to_at", Moment, nullable=False),
        sa.Column("max_parallel", sa.Integer, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("created_by", sa.String(255)),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("finished_at", Moment),
    )
    op.create_index("ix_schedule_backfill_schedule_id_id", "schedule_backfill", ["schedule_id", "id"])
    _partial_index("ix_schedule_backfill_open", "schedule_backfill", ["id"], "finished_at IS NULL")
    _fires()


def _fires() -> None:
    op.create_table(
        "schedule_fire",
        _key(),
        _of_schedule(),
        sa.Column("fire_at", Moment, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("live", sa.Boolean, nullable=False),
        sa.Column("run_id", Identifier),
        sa.Column("backfill_id", Identifier),
        sa.Column("error", Json),
        sa.Column("created_at", Moment, nullable=False),
    )
    at, named = ["schedule_id", "fire_at"], ["schedule_id", "id"]
    _partial_index("uq_schedule_fire_of_plan", "schedule_fire", at, "kind <> 'manual'", unique=True)
    _partial_index("ix_schedule_fire_queued", "schedule_fire", at, "outcome = 'queued' AND kind <> 'backfill'")
    op.create_index(
        "ix_schedule_fire_live",
        "schedule_fire",
        named,
        postgresql_where=sa.text("live IS true"),
        sqlite_where=sa.text("live IS 1"),
    )
    op.create_index("ix_schedule_fire_schedule_id_fire_at_id", "schedule_fire", [*at, "id"])
    filled = ["backfill_id", "outcome", "fire_at"]
    op.create_index("ix_schedule_fire_backfill_id_outcome_fire_at", "schedule_fire", filled)


def downgrade() -> None:
    for table in ("schedule_fire", "schedule_backfill", "schedule"):
        op.drop_table(table)


def _key() -> "sa.Column[str]":
    return sa.Column("id", Identifier, primary_key=True)


def _of_schedule() -> "sa.Column[str]":
    schedule = sa.ForeignKey("schedule.id", ondelete="CASCADE")
    return sa.Column("schedule_id", Identifier, schedule, nullable=False)


def _counter(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger, server_default=sa.text("0"), nullable=False)


def _partial_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    on = sa.text(where)
    op.create_index(name, table, columns, unique=unique, postgresql_where=on, sqlite_where=on)
