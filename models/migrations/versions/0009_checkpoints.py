"""Where a forked run comes from, and what containers had before they were opened anew."""

import sqlalchemy as sa
from alembic import op

from models.base import Identifier, Json

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run_data", sa.Column("forked_from", Json))
    op.create_table(
        "past_items",
        sa.Column("run_id", Identifier, primary_key=True),
        sa.Column("no", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("until", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("first", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("items", Json, nullable=False),
    )
    op.create_table(
        "past_result",
        sa.Column("run_id", Identifier, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("until", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("result", Json, nullable=False),
    )


def downgrade() -> None:
    for table in ("past_result", "past_items"):
        op.drop_table(table)
    op.drop_column("run_data", "forked_from")
