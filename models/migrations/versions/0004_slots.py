"""Turns and slots: lanes of steps that wait to be sent, pools, rates, concurrency keys, consumers."""

import sqlalchemy as sa
from alembic import op

from models.base import Identifier, Moment

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_HELD = "status = 'queued' AND sent_at IS NULL AND lane IS NOT NULL"
_IN_POOL = "pool IS NOT NULL AND status IN ('running', 'waiting')"
_OF_KEY = "concurrency_key IS NOT NULL AND finished_at IS NULL"


def upgrade() -> None:
    op.add_column("step", sa.Column("lane", sa.Text))
    op.add_column("step", sa.Column("rank", sa.Integer))
    _partial_index("ix_step_held", "step", ["lane", "rank", "queued_at", "no"], _HELD)
    op.add_column("step", sa.Column("pool", sa.Text))
    op.add_column("step", sa.Column("slots", sa.Integer))
    _partial_index("ix_step_pool", "step", ["pool"], _IN_POOL)
    op.add_column("attempt", sa.Column("rate_key", sa.Text))
    _partial_index("ix_attempt_rate", "attempt", ["rate_key", "claimed_at"], "rate_key IS NOT NULL")
    op.add_column("run", sa.Column("concurrency_key", sa.Text))
    _partial_index("ix_run_concurrency", "run", ["concurrency_key", "status"], _OF_KEY)
    _tables()


def _tables() -> None:
    op.create_table(
        "pool",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("workspace_id", Identifier, sa.ForeignKey("workspace.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.UniqueConstraint("workspace_id", "name"),
    )
    op.create_table(
        "consumer",
        sa.Column("process", sa.String(255), primary_key=True),
        sa.Column("queue", sa.String(255), primary_key=True),
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("seen_at", Moment, nullable=False),
    )


def _partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, postgresql_where=sa.text(where), sqlite_where=sa.text(where))
