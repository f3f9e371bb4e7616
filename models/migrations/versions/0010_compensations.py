"""What is still to be undone of a run."""

import sqlalchemy as sa
from alembic import op

from models.base import Identifier

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "compensation",
        sa.Column("run_id", Identifier, primary_key=True),
        sa.Column("no", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
    )
    op.create_index("ix_compensation_run_id_state_seq", "compensation", ["run_id", "state", "seq"])


def downgrade() -> None:
    op.drop_table("compensation")
