"""Runs that are called by a step of another run: whose they are, how deep, and whose budget they draw on."""

import sqlalchemy as sa
from alembic import op

from models.base import Identifier

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_CALLED = sa.text("parent_run_id IS NOT NULL")


def upgrade() -> None:
    op.add_column("run", sa.Column("parent_step", sa.Text))
    op.add_column("run", sa.Column("parent_attempt", sa.Integer))
    op.add_column("run", sa.Column("detached", sa.Boolean, server_default=sa.false(), nullable=False))
    op.add_column("run", sa.Column("depth", sa.Integer, server_default=sa.text("0"), nullable=False))
    op.add_column("run", sa.Column("budget_run_id", Identifier))
    op.drop_index("ix_run_parent_run_id", "run")
    op.create_index(
        "uq_run_call",
        "run",
        ["parent_run_id", "parent_step", "parent_attempt"],
        unique=True,
        postgresql_where=_CALLED,
        sqlite_where=_CALLED,
    )


def downgrade() -> None:
    op.drop_index("uq_run_call", "run")
    op.create_index("ix_run_parent_run_id", "run", ["parent_run_id"])
    for column in ("budget_run_id", "depth", "detached", "parent_attempt", "parent_step"):
        op.drop_column("run", column)
