"""Hooks, and what came to them under which number."""

import sqlalchemy as sa
from alembic import op

from models.base import Identifier, Json, Moment

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hook",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("workspace_id", Identifier, sa.ForeignKey("workspace.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("workflow_id", Identifier, sa.ForeignKey("workflow.id")),
        sa.Column("signal", Json),
        sa.Column("scheme", sa.String(32), nullable=False),
        sa.Column("nonce", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("secret", sa.Text),
        sa.Column("mapping", Json),
        sa.Column("dedup", sa.Text),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        sa.UniqueConstraint("workspace_id", "name"),
    )
    op.create_table(
        "hook_delivery",
        sa.Column("hook_id", Identifier, sa.ForeignKey("hook.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.String(64), primary_key=True),
        sa.Column("answer", Json),
        sa.Column("created_at", Moment, nullable=False),
    )
    op.create_index("ix_hook_delivery_created_at", "hook_delivery", ["created_at"])


def downgrade() -> None:
    for table in ("hook_delivery", "hook"):
        op.drop_table(table)
