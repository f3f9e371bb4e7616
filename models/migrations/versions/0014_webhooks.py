"""Webhooks, their deliveries, and how each attempt went."""

import sqlalchemy as sa
from alembic import op

from models.base import Identifier, Json, Moment

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "webhook",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("workspace_id", Identifier, sa.ForeignKey("workspace.id"), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("events", Json, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("previous_secret", sa.Text),
        sa.Column("previous_until", Moment),
        sa.Column("enabled", sa.Boolean, server_default=sa.true(), nullable=False),
        sa.Column("enabled_at", Moment, nullable=False),
        sa.Column("disabled_at", Moment),
        sa.Column("disabled_reason", sa.Text),
        sa.Column("failures", sa.Integer, server_default=sa.text("0"), nullable=False),
        *(sa.Column(name, Moment) for name in ("failing_since", "disable_at")),
        *(sa.Column(name, Moment) for name in ("last_success_at", "last_failure_at")),
        sa.Column("error", sa.Text),
        *(sa.Column(name, Moment, nullable=False) for name in ("created_at", "updated_at")),
    )
    op.create_index("ix_webhook_workspace_id_id", "webhook", ["workspace_id", "id"])
    _deliveries()
    op.create_table(
        "webhook_attempt",
        sa.Column(
            "delivery_id", Identifier, sa.ForeignKey("webhook_delivery.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("request_headers", Json, nullable=False),
        sa.Column("response_status", sa.Integer),
        sa.Column("response_headers", Json),
        sa.Column("response_body", sa.Text),
        sa.Column("error", Json),
        *(sa.Column(name, Moment, nullable=False) for name in ("started_at", "finished_at")),
    )


def downgrade() -> None:
    for table in ("webhook_attempt", "webhook_delivery", "webhook"):
        op.drop_table(table)


def _deliveries() -> None:
    op.create_table(
        "webhook_delivery",
        sa.Column("id", Identifier, primary_key=True),
        *(sa.Column(name, Identifier, nullable=False) for name in ("workspace_id", "webhook_id")),
        sa.Column("event", sa.String(128), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(36)),
        sa.Column("seq", sa.Integer),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("attempt", "tries")),
        *(sa.Column(name, Moment) for name in ("due_at", "claimed_at", "lease_until")),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("ended_at", Moment),
        sa.UniqueConstraint("webhook_id", "event"),
    )
    _index("webhook_id", "id")
    _index("workspace_id", "status", "id")
    _index("status", "ended_at")
    _partial_index("pending", "webhook_id", "due_at")
    _partial_index("sending", "lease_until", "webhook_id")


def _index(*columns: str) -> None:
    op.create_index(f"ix_webhook_delivery_{'_'.join(columns)}", "webhook_delivery", list(columns))


def _partial_index(status: str, *columns: str) -> None:
    where = sa.text(f"status = '{status}'")
    op.create_index(
        f"ix_webhook_delivery_{status}",
        "webhook_delivery",
        list(columns),
        postgresql_where=where,
        sqlite_where=where,
    )
