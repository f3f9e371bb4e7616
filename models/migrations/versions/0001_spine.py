"""The spine: workspaces, keys, workflows, runs, steps, events, outbox."""

import sqlalchemy as sa
from alembic import op

from models.base import Identifier, Json, Moment
from models.migrations import append_only

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_OPEN = "status IN ('pending', 'running', 'paused') AND timeout_at IS NOT NULL"
_TABLES = (
    "stamp",
    "idempotent_answer",
    "outbox",
    "event",
    "attempt",
    "step",
    "budget",
    "run_label",
    "run_data",
    "run",
    "workflow_version",
    "workflow",
    "api_key",
    "workspace",
)


def upgrade() -> None:
    _workspaces()
    _workflows()
    _runs()
    _run_data()
    _steps()
    _attempts()
    _events()
    _operation()


def downgrade() -> None:
    for table in _TABLES:
        op.drop_table(table)
    append_only.release()


def _workspaces() -> None:
    op.create_table(
        "workspace",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("name", sa.String(255), nullable=False, unique=True),
        sa.Column("created_at", Moment, nullable=False),
    )
    op.create_table(
        "api_key",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("workspace_id", Identifier, sa.ForeignKey("workspace.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("digest", sa.String(255), nullable=False, unique=True),
        sa.Column("scopes", Json, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("revoked_at", Moment),
    )
    op.create_index("ix_api_key_workspace_id_id", "api_key", ["workspace_id", "id"])


def _workflows() -> None:
    op.create_table(
        "workflow",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("workspace_id", Identifier, sa.ForeignKey("workspace.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("current_version", sa.Integer, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        sa.Column("archived_at", Moment),
        sa.UniqueConstraint("workspace_id", "name"),
    )
    op.create_index("ix_workflow_workspace_id_id", "workflow", ["workspace_id", "id"])
    op.create_table(
        "workflow_version",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("workflow_id", Identifier, sa.ForeignKey("workflow.id"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(255), nullable=False),
        sa.Column("definition", Json, nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("classification", Json, nullable=False),
        sa.Column("estimated_cost_cents", sa.Integer, nullable=False),
        sa.Column("estimate_is_lower_bound", sa.Boolean, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("created_by", sa.String(255)),
        sa.UniqueConstraint("workflow_id", "number"),
    )


def _runs() -> None:
    op.create_table(
        "run",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("workspace_id", Identifier, sa.ForeignKey("workspace.id"), nullable=False),
        sa.Column("workflow_id", Identifier, sa.ForeignKey("workflow.id"), nullable=False),
        sa.Column("version_id", Identifier, sa.ForeignKey("workflow_version.id"), nullable=False),
        sa.Column("parent_run_id", Identifier),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("stopping", sa.String(16)),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("open_steps", sa.Integer, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("has_budget", sa.Boolean, nullable=False),
        sa.Column("cost_microcents", sa.BigInteger, nullable=False),
        sa.Column("error", Json),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("started_at", Moment),
        sa.Column("finished_at", Moment),
        sa.Column("timeout_at", Moment),
        postgresql_with={"fillfactor": 70},
    )
    _partial_index("ix_run_workspace", "run", "workspace_id, id", "workspace_id IS NOT NULL")
    _partial_index("ix_run_workspace_status", "run", "workspace_id, status, id", "workspace_id IS NOT NULL")
    _partial_index("ix_run_workflow", "run", "workflow_id, id", "workflow_id IS NOT NULL")
    op.create_index("ix_run_parent_run_id", "run", ["parent_run_id"])
    _partial_index("ix_run_timeout_at", "run", "timeout_at", _OPEN)


def _run_data() -> None:
    op.create_table(
        "run_data",
        _of_run(),
        sa.Column("inputs", Json, nullable=False),
        sa.Column("variables", Json, nullable=False),
        sa.Column("outputs", Json),
        sa.Column("overrides", Json),
        sa.Column("labels", Json, nullable=False),
        sa.Column("created_by", sa.String(255)),
    )
    op.create_table(
        "run_label",
        _of_run(),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("value", sa.String(255), nullable=False),
        sa.Column("workspace_id", Identifier, nullable=False),
    )
    op.create_index(
        "ix_run_label_workspace_id_key_value_run_id", "run_label", ["workspace_id", "key", "value", "run_id"]
    )
    op.create_table(
        "budget",
        _of_run(),
        sa.Column("limit_microcents", sa.BigInteger, nullable=False),
        sa.Column("spent_microcents", sa.BigInteger, nullable=False),
        sa.Column("reserved_microcents", sa.BigInteger, nullable=False),
        sa.Column("on_exceeded", sa.String(16), nullable=False),
    )


def _steps() -> None:
    op.create_table(
        "step",
        sa.Column("run_id", Identifier, primary_key=True),
        sa.Column("no", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("undecided", sa.Integer, nullable=False),
        sa.Column("live", sa.Integer, nullable=False),
        sa.Column("live_in", sa.Text),
        sa.Column("out_edges", sa.Text),
        sa.Column("route", sa.Text),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("losses", sa.Integer, nullable=False),
        sa.Column("queue", sa.String(255), nullable=False),
        sa.Column("in_chord", sa.Boolean, nullable=False),
        sa.Column("sends", sa.Integer, nullable=False),
        sa.Column("queued_at", Moment),
        sa.Column("sent_at", Moment),
        sa.Column("started_at", Moment),
        sa.Column("finished_at", Moment),
        sa.Column("lease_until", Moment),
        sa.Column("timeout_at", Moment),
        sa.Column("due_at", Moment),
        sa.Column("waiting_for", sa.Text),
        sa.Column("idempotency_key", sa.Text),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index(
        "uq_step_path",
        "step",
        ["run_id", "path"],
        unique=True,
        postgresql_where=sa.text("path IS NOT NULL"),
        sqlite_where=sa.text("path IS NOT NULL"),
    )
    _partial_index("ix_step_queued", "step", "sent_at", "status = 'queued'")
    _partial_index("ix_step_lease", "step", "lease_until", "status = 'running'")
    _partial_index("ix_step_timeout", "step", "timeout_at", "timeout_at IS NOT NULL")
    _partial_index("ix_step_due", "step", "due_at", "due_at IS NOT NULL")


def _attempts() -> None:
    op.create_table(
        "attempt",
        sa.Column("run_id", Identifier, primary_key=True),
        sa.Column("no", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("worker", sa.String(255)),
        sa.Column("claimed_at", Moment),
        sa.Column("begun_at", Moment),
        sa.Column("finished_at", Moment),
        sa.Column("output", Json),
        sa.Column("passed", sa.Text),
        sa.Column("resolved", Json),
        sa.Column("input_digest", sa.String(64)),
        sa.Column("error", Json),
        sa.Column("agent", sa.String(255)),
        sa.Column("model", sa.String(255)),
        sa.Column("tokens_in", sa.BigInteger),
        sa.Column("tokens_out", sa.BigInteger),
        sa.Column("cost_microcents", sa.BigInteger, server_default=sa.text("0"), nullable=False),
        sa.Column("reserved_microcents", sa.BigInteger, server_default=sa.text("0"), nullable=False),
        postgresql_with={"fillfactor": 80},
    )


def _events() -> None:
    op.create_table(
        "event",
        sa.Column("run_id", Identifier, primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("step", sa.Text),
        sa.Column("at", Moment, nullable=False),
        sa.Column("actor", sa.String(255)),
        sa.Column("data", Json, nullable=False),
    )
    append_only.protect()


def _operation() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("run_id", Identifier, nullable=False),
        sa.Column("no", sa.BigInteger, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("data", Json, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("due_at", Moment, nullable=False),
    )
    op.create_index("ix_outbox_due_at", "outbox", ["due_at"])
    op.create_index("ix_outbox_run_id", "outbox", ["run_id"])
    op.create_table(
        "idempotent_answer",
        sa.Column("workspace_id", Identifier, primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.Column("headers", Json, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
    )
    op.create_index("ix_idempotent_answer_created_at", "idempotent_answer", ["created_at"])
    op.create_table(
        "stamp",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("at", Moment, nullable=False),
    )


def _of_run() -> sa.Column[str]:
    return sa.Column("run_id", Identifier, sa.ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)


def _partial_index(name: str, table: str, column: str, where: str) -> None:
    op.create_index(name, table, column.split(", "), postgresql_where=sa.text(where), sqlite_where=sa.text(where))
