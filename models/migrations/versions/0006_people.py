"""Approvals with their votes, and signals with the steps that wait for them."""

import sqlalchemy as sa
from alembic import op

from models.base import Identifier, Json, Moment

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _approvals()
    _signals()


def downgrade() -> None:
    for table in ("awaited_signal", "signal", "approval_assignee", "approval_vote", "approval"):
        op.drop_table(table)


def _of_run(*, nullable: bool = False, primary_key: bool = False) -> "sa.Column[str]":
    run = sa.ForeignKey("run.id", ondelete="CASCADE")
    return sa.Column("run_id", Identifier, run, nullable=nullable, primary_key=primary_key)


def _of_approval() -> "sa.Column[str]":
    key = sa.ForeignKey("approval.id", ondelete="CASCADE")
    return sa.Column("approval_id", Identifier, key, primary_key=True)


def _approvals() -> None:
    op.create_table(
        "approval",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("workspace_id", Identifier, nullable=False),
        _of_run(),
        sa.Column("no", sa.BigInteger, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("form", Json),
        sa.Column("assignees", Json, nullable=False),
        sa.Column("required", sa.Integer, nullable=False),
        sa.Column("on_expiry", sa.String(16), nullable=False),
        sa.Column("requested_at", Moment, nullable=False),
        sa.Column("expires_at", Moment),
        sa.Column("decided_at", Moment),
        sa.Column("decision", sa.String(16)),
        sa.Column("expired", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.UniqueConstraint("run_id", "no", "attempt"),
    )
    op.create_index("ix_approval_workspace_id_id", "approval", ["workspace_id", "id"])
    _partial_index("ix_approval_undecided", "approval", ["workspace_id", "id"], "decided_at IS NULL")
    op.create_table(
        "approval_vote",
        _of_approval(),
        sa.Column("voter", sa.String(64), primary_key=True),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("comment", sa.Text),
        sa.Column("data", Json),
        sa.Column("voted_at", Moment, nullable=False),
        sa.Column("clock_at", Moment, nullable=False),
    )
    op.create_table(
        "approval_assignee",
        _of_approval(),
        sa.Column("name", sa.String(255), primary_key=True),
    )
    op.create_index("ix_approval_assignee_name_approval_id", "approval_assignee", ["name", "approval_id"])


def _signals() -> None:
    op.create_table(
        "signal",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("workspace_id", Identifier, nullable=False),
        _of_run(nullable=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("sender_id", sa.String(255)),
        sa.Column("data", Json),
        sa.Column("sent_by", sa.String(255)),
        sa.Column("sent_at", Moment, nullable=False),
        sa.Column("taken_run_id", Identifier),
        sa.Column("taken_no", sa.BigInteger),
        sa.Column("taken_attempt", sa.Integer),
    )
    of_run, of_key = ["run_id", "name", "sender_id"], ["workspace_id", "name", "key", "sender_id"]
    taken = ["taken_run_id", "taken_no", "taken_attempt"]
    _partial_index("uq_signal_of_run", "signal", of_run, "run_id IS NOT NULL", unique=True)
    _partial_index("uq_signal_of_key", "signal", of_key, "key IS NOT NULL", unique=True)
    _partial_index("uq_signal_taken", "signal", taken, "taken_run_id IS NOT NULL", unique=True)
    kept = ["workspace_id", "name", "key", "id"]
    _partial_index("ix_signal_kept", "signal", kept, "taken_run_id IS NULL")
    op.create_table(
        "awaited_signal",
        _of_run(primary_key=True),
        sa.Column("no", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("workspace_id", Identifier, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("schema", Json),
        sa.Column("awaited_at", Moment, nullable=False),
        sa.Column("expires_at", Moment),
        sa.Column("expired", sa.Boolean, server_default=sa.false(), nullable=False),
    )
    keyed = ["workspace_id", "name", "key"]
    _partial_index("ix_awaited_signal_key", "awaited_signal", keyed, "key IS NOT NULL")


def _partial_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    on = sa.text(where)
    op.create_index(name, table, columns, unique=unique, postgresql_where=on, sqlite_where=on)
