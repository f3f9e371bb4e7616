"""Branches: the iterations of loops and the branches of parallels."""

import sqlalchemy as sa
from alembic import op

from models.base import Identifier, Json

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "container",
        sa.Column("run_id", Identifier, primary_key=True),
        sa.Column("no", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("total", sa.Integer),
        sa.Column("opened", sa.Integer, nullable=False),
        sa.Column("ended", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
    )
    op.create_table(
        "container_items",
        sa.Column("run_id", Identifier, primary_key=True),
        sa.Column("no", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("first", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("items", Json, nullable=False),
    )
    op.create_table(
        "branch",
        sa.Column("run_id", Identifier, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("container", sa.BigInteger, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("open_steps", sa.Integer, nullable=False),
        sa.Column("error", Json),
        sa.Column("result", Json),
        postgresql_with={"fillfactor": 70},
    )
    given = sa.text("container IS NOT NULL")
    op.create_index(
        "uq_branch_container",
        "branch",
        ["run_id", "container", "position"],
        unique=True,
        postgresql_where=given,
        sqlite_where=given,
    )


def downgrade() -> None:
    for table in ("branch", "container_items", "container"):
        op.drop_table(table)
