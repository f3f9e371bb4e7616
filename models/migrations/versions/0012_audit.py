"""The audit log and the chain over it."""

import sqlalchemy as sa
from alembic import op

from models.base import Identifier, Json, Moment
from models.migrations import insert_only

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("workspace_id", Identifier, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("actor_id", sa.String(255), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("source", sa.String(255)),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("before", sa.String(64)),
        sa.Column("after", sa.String(64)),
        sa.Column("changes", Json, nullable=False),
    )
    op.create_index("ix_audit_workspace_id_id", "audit", ["workspace_id", "id"])
    for column in ("target", "actor", "action"):
        op.create_index(f"ix_audit_workspace_id_{column}_id", "audit", ["workspace_id", column, "id"])
    op.create_table("audit_unsealed", sa.Column("audit_id", Identifier, primary_key=True))
    op.create_table(
        "audit_seal",
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("audit_id", Identifier, nullable=False, unique=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("sealed_at", Moment, nullable=False),
    )
    insert_only.protect({"audit": "id", "audit_seal": "position"})


def downgrade() -> None:
    for table in ("audit_seal", "audit_unsealed", "audit"):
        op.drop_table(table)
    insert_only.release()
