"""Agents and gateways: the registry, where attempts were sent, work that is pulled, live chunks, prices."""

import sqlalchemy as sa
from alembic import op

from models.base import Identifier, Json, Moment

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_AT_AGENT = "agent_id IS NOT NULL AND status IN ('running', 'waiting')"
_UNSERVED = "status = 'waiting' AND lane IS NOT NULL"
_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _gateways()
    _agents()
    _events()
    _prices()
    op.add_column("api_key", sa.Column("agent_id", Identifier))
    op.add_column("api_key", sa.Column("expires_at", Moment))
    op.create_index("ix_api_key_agent_id", "api_key", ["agent_id"])
    op.add_column("step", sa.Column("agent_id", Identifier))
    _partial_index("ix_step_agent", "step", ["agent_id"], _AT_AGENT)
    _partial_index("ix_step_unserved", "step", ["lane", "rank", "queued_at", "no"], _UNSERVED)
    op.add_column("attempt", sa.Column("agent_id", Identifier))
    op.add_column("attempt", sa.Column("assigned", Json))
    _partial_index("ix_attempt_agent", "attempt", ["agent_id", "begun_at"], "agent_id IS NOT NULL")


def _gateways() -> None:
    op.create_table(
        "gateway",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("workspace_id", Identifier, sa.ForeignKey("workspace.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("url", sa.Text),
        sa.Column("token", sa.Text),
        sa.Column("device_token", sa.Text),
        sa.Column("is_default", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("failures", sa.Integer, server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("version", sa.String(255)),
        sa.Column("checked_at", Moment),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        sa.UniqueConstraint("workspace_id", "name"),
    )
    op.create_index("ix_gateway_checked_at", "gateway", ["checked_at"])


def _agents() -> None:
    op.create_table(
        "agent",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("workspace_id", Identifier, sa.ForeignKey("workspace.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("role", sa.String(255)),
        sa.Column("level", sa.String(255)),
        sa.Column("session_key", sa.Text),
        sa.Column("capabilities", Json, nullable=False),
        sa.Column("workspace_path", sa.Text),
        sa.Column("gateway_id", Identifier, sa.ForeignKey("gateway.id")),
        sa.Column("max_concurrent", sa.Integer),
        sa.Column("rate_limit", sa.Integer),
        sa.Column("files", Json),
        sa.Column("beats", sa.Boolean, server_default=sa.true(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("queued_task_count", sa.Integer, server_default=sa.text("0"), nullable=False),
        sa.Column("heartbeat_at", Moment, nullable=False),
        sa.Column("heartbeats", Json, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        sa.UniqueConstraint("workspace_id", "name"),
    )
    op.create_index("ix_agent_gateway_id", "agent", ["gateway_id"])
    op.create_index("ix_agent_status_heartbeat_at", "agent", ["status", "heartbeat_at"])
    op.create_table(
        "session_agent",
        sa.Column("run_id", Identifier, primary_key=True),
        sa.Column("session", sa.Text, primary_key=True),
        sa.Column("agent_id", Identifier, nullable=False),
    )
    op.create_table(
        "work",
        sa.Column("run_id", Identifier, primary_key=True),
        sa.Column("no", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("workspace_id", Identifier, nullable=False),
        sa.Column("agent_id", Identifier, sa.ForeignKey("agent.id", ondelete="CASCADE")),
        sa.Column("role", sa.String(255)),
        sa.Column("capabilities", Json, nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("offered_at", Moment, nullable=False),
        sa.Column("claimed_by", Identifier, sa.ForeignKey("agent.id", ondelete="CASCADE")),
        sa.Column("lease_digest", sa.String(64), unique=True),
        sa.Column("lease_until", Moment),
        sa.Column("losses", sa.Integer, server_default=sa.text("0"), nullable=False),
    )
    op.create_index("ix_work_workspace_id_rank_offered_at", "work", ["workspace_id", "rank", "offered_at"])
    _partial_index("ix_work_lease", "work", ["lease_until"], "lease_until IS NOT NULL")
    _partial_index("ix_work_lost", "work", ["losses"], "losses >= 3")
    _partial_index("ix_work_agent", "work", ["agent_id"], "agent_id IS NOT NULL")
    _partial_index("ix_work_claimed", "work", ["claimed_by"], "claimed_by IS NOT NULL")


def _events() -> None:
    op.create_table(
        "operational_event",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("workspace_id", Identifier, nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("data", Json, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_operational_event_workspace_id_id", "operational_event", ["workspace_id", "id"])
    op.create_index("ix_operational_event_at", "operational_event", ["at"])
    op.create_table(
        "chunk",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("run_id", Identifier, nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("data", Json, nullable=False),
        sqlite_autoincrement=True,
        prefixes=["UNLOGGED"] if op.get_bind().dialect.name == "postgresql" else [],
    )
    op.create_index("ix_chunk_run_id_id", "chunk", ["run_id", "id"])
    op.create_index("ix_chunk_at", "chunk", ["at"])


def _prices() -> None:
    op.create_table(
        "price",
        sa.Column("workspace_id", Identifier, sa.ForeignKey("workspace.id"), primary_key=True),
        sa.Column("model", sa.String(255), primary_key=True),
        sa.Column("input_microcents", sa.BigInteger, nullable=False),
        sa.Column("output_microcents", sa.BigInteger, nullable=False),
        sa.Column("cached_input_microcents", sa.BigInteger),
        sa.Column("updated_at", Moment, nullable=False),
    )


def _partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, postgresql_where=sa.text(where), sqlite_where=sa.text(where))
