"""Deadlines of steps, heartbeats of handlers, and what finds degraded attempts."""

import sqlalchemy as sa
from alembic import op

from models.base import Moment

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("step", sa.Column("deadline_at", Moment))
    op.add_column("step", sa.Column("beat_until", Moment))
    _partial_index("ix_step_deadline", "step", "deadline_at", "deadline_at IS NOT NULL AND finished_at IS NULL")
    _partial_index("ix_step_beat", "step", "beat_until", "beat_until IS NOT NULL AND lease_until IS NOT NULL")
    _partial_index("ix_attempt_degraded", "attempt", "run_id", "output IS NOT NULL AND error IS NOT NULL")


def downgrade() -> None:
    op.drop_index("ix_attempt_degraded", "attempt")
    op.drop_index("ix_step_beat", "step")
    op.drop_index("ix_step_deadline", "step")
    op.drop_column("step", "beat_until")
    op.drop_column("step", "deadline_at")


def _partial_index(name: str, table: str, column: str, where: str) -> None:
    op.create_index(name, table, [column], postgresql_where=sa.text(where), sqlite_where=sa.text(where))
