"""Runs leave after a while: where they are found, and what is left of them."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from models.base import Identifier, Moment

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_INDEXES = {
    "ix_run_ended": ("run", ["workspace_id", "finished_at", "id"], "finished_at IS NOT NULL AND parent_run_id IS NULL"),
    "ix_signal_unclaimed": ("signal", ["workspace_id", "id"], "key IS NOT NULL AND taken_run_id IS NULL"),
    "ix_audit_workspace_id_actor_id_id": ("audit", ["workspace_id", "actor_id", "id"], None),
}


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    # it may have gone so far before: building the indexes ends the transaction
    op.add_column("workspace", sa.Column("run_retention_days", sa.Double), if_not_exists=postgresql)
    op.create_table(
        "departed_run",
        sa.Column("run_id", Identifier, primary_key=True),
        sa.Column("swept_at", Moment, nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_departed_run_swept_at", "departed_run", ["swept_at"], if_not_exists=True)
    if not postgresql:
        _create_indexes()
        return
    with op.get_context().autocommit_block():
        for name in _INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")  # an invalid one, of an attempt that failed
        _create_indexes(postgresql_concurrently=True)


def _create_indexes(**options: Any) -> None:
    for name, (table, columns, where) in _INDEXES.items():
        on = None if where is None else sa.text(where)
        op.create_index(name, table, columns, postgresql_where=on, sqlite_where=on, **options)


def downgrade() -> None:
    for name, (table, _, _) in _INDEXES.items():
        op.drop_index(name, table)
    op.drop_table("departed_run")
    op.drop_column("workspace", "run_retention_days")
