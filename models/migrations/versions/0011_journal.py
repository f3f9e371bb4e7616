"""Events in one order that no slower transaction can slip under, and how far each subscriber has read them."""

import sqlalchemy as sa
from alembic import op

from models.base import Moment

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# Stable, so that PostgreSQL fills the rows that are there without writing them anew.
_XID = "pg_current_xact_id()::text::bigint"
_TABLES = ("run", "event", "operational_event")
_INDEXED = _TABLES[1:]


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    for table in _TABLES:
        default = sa.text(_XID if postgresql else "0")
        column = sa.Column("xid", sa.BigInteger, server_default=default, nullable=False)
        op.add_column(table, column, if_not_exists=postgresql)  # it may have gone so far before
    op.create_table(
        "subscriber",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("cursor", sa.Text, nullable=False),
        sa.Column("moved_at", Moment, nullable=False),
        if_not_exists=True,
    )
    if postgresql:
        with op.get_context().autocommit_block():
            for table in _INDEXED:
                name = f"ix_{table}_xid"
                op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")  # an invalid one, of an attempt that failed
                op.create_index(name, table, ["xid"], postgresql_concurrently=True)
    else:
        for table in _INDEXED:  # empty there
            op.create_index(f"ix_{table}_xid", table, ["xid"], sqlite_where=sa.text("xid > 0"))


def downgrade() -> None:
    op.drop_table("subscriber")
    for table in _INDEXED:
        op.drop_index(f"ix_{table}_xid", table)
    for table in _TABLES:
        op.drop_column(table, "xid")
