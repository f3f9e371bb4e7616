"""What an operator overrides for one step of a run."""

import sqlalchemy as sa
from alembic import op

from models.base import Json

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("step", sa.Column("override", Json))


def downgrade() -> None:
    op.drop_column("step", "override")
