"""What worker processes know of the cost of node types, so that those which start runs know it too."""

import sqlalchemy as sa
from alembic import op

from models.base import Json

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("consumer", sa.Column("cheap", Json, nullable=True))


def downgrade() -> None:
    op.drop_column("consumer", "cheap")
