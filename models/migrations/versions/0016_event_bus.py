"""A reader of the journal that works outside of transactions holds its place by a lease, and says why it stands."""

import sqlalchemy as sa
from alembic import op

from models.base import Moment

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("subscriber", sa.Column("holder", sa.String(64)))
    op.add_column("subscriber", sa.Column("lease_until", Moment))
    op.add_column("subscriber", sa.Column("error", sa.Text))


def downgrade() -> None:
    for column in ("error", "lease_until", "holder"):
        op.drop_column("subscriber", column)
