"""A run: its hot row, and beside it its data, labels and budget."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, false, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import At, Base, Id, Json, Key, Moment, Name, Xid


def _of(name: str, *columns: str) -> Index:
    where = text(f"{columns[0]} IS NOT NULL")
    return Index(name, *columns, postgresql_where=where, sqlite_where=where)


class Run(Base):
    """The row that every transition of the run locks first.

    `seq` numbers the run's events, `xid` is that of the last one, `open_steps` counts the steps that are not
    terminal, `stopping` is the status in which the run ends once the steps that are still let end have ended,
    `error` the first failure that no edge took.

    A run that a step of another one called has that as `parent_run_id`, with the step's path and attempt;
    `detached`: nobody waits for it, and no abort or pause comes down. `depth` counts the calls above it,
    `budget_run_id` is the run above that holds its budget (null: itself).
    """

    __tablename__ = "run"
    __table_args__ = (
        # Partial, though these are never null: a statement that names the run must take the primary key, and
        # while the table is small an index that ends with the id looks as cheap.
        _of("ix_run_workspace", "workspace_id", "id"),
        _of("ix_run_workspace_status", "workspace_id", "status", "id"),
        _of("ix_run_workflow", "workflow_id", "id"),
        Index(
            "uq_run_call",
            "parent_run_id",
            "parent_step",
            "parent_attempt",
            unique=True,
            postgresql_where=text("parent_run_id IS NOT NULL"),
            sqlite_where=text("parent_run_id IS NOT NULL"),
        ),
        Index(
            "ix_run_timeout_at",
            "timeout_at",
            postgresql_where=text("status IN ('pending', 'running', 'paused') AND timeout_at IS NOT NULL"),
            sqlite_where=text("status IN ('pending', 'running', 'paused') AND timeout_at IS NOT NULL"),
        ),
        Index(
            "ix_run_concurrency",
            "concurrency_key",
            "status",
            postgresql_where=text("concurrency_key IS NOT NULL AND finished_at IS NULL"),
            sqlite_where=text("concurrency_key IS NOT NULL AND finished_at IS NULL"),
        ),
        Index(
            "ix_run_ended",
            "workspace_id",
            "finished_at",
            "id",
            postgresql_where=text("finished_at IS NOT NULL AND parent_run_id IS NULL"),
            sqlite_where=text("finished_at IS NOT NULL AND parent_run_id IS NULL"),
        ),
        {"postgresql_with": {"fillfactor": 70}},
    )

    id: Mapped[Key]
    workspace_id: Mapped[Id] = mapped_column(ForeignKey("workspace.id"))
    workflow_id: Mapped[Id] = mapped_column(ForeignKey("workflow.id"))
    version_id: Mapped[Id] = mapped_column(ForeignKey("workflow_version.id"))
    parent_run_id: Mapped[Id | None]
    parent_step: Mapped[str | None] = mapped_column(Text)
    parent_attempt: Mapped[int | None]
    detached: Mapped[bool] = mapped_column(server_default=false())
    depth: Mapped[int] = mapped_column(server_default=text("0"))
    budget_run_id: Mapped[Id | None]
    status: Mapped[str] = mapped_column(String(16))
    stopping: Mapped[str | None] = mapped_column(String(16))
    seq: Mapped[int]
    open_steps: Mapped[int]
    priority: Mapped[int]
    has_budget: Mapped[bool]
    cost_microcents: Mapped[int] = mapped_column(BigInteger)
    error: Mapped[Any] = mapped_column(Json, nullable=True)  # {code, message, step, …}
    created_at: Mapped[At]
    started_at: Mapped[datetime | None] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
    timeout_at: Mapped[datetime | None] = mapped_column(Moment)
    concurrency_key: Mapped[str | None] = mapped_column(Text)
    xid: Mapped[Xid]


class RunData(Base):
    """What a run was given and gave; apart, so that the hot row stays narrow."""

    __tablename__ = "run_data"

    run_id: Mapped[Id] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    inputs: Mapped[Any] = mapped_column(Json)
    variables: Mapped[Any] = mapped_column(Json)
    outputs: Mapped[Any] = mapped_column(
        Json, nullable=True
    )  # null: assembled from the terminal nodes on read
    overrides: Mapped[Any] = mapped_column(Json, nullable=True)
    labels: Mapped[Any] = mapped_column(Json)
    created_by: Mapped[str | None] = mapped_column(String(255))
    forked_from: Mapped[Any] = mapped_column(Json, nullable=True)  # {run_id, seq, from_step?, checkpoint?}


class RunLabel(Base):
    """A run's label, for the filter `label=k:v`."""

    __tablename__ = "run_label"
    __table_args__ = (Index(None, "workspace_id", "key", "value", "run_id"),)

    run_id: Mapped[Id] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[Name] = mapped_column(primary_key=True)
    value: Mapped[Name]
    workspace_id: Mapped[Id]


class Budget(Base):
    """One row for each run that has a limit of its own; all that it calls draw on it, by conditional UPDATE."""

    __tablename__ = "budget"

    run_id: Mapped[Id] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    limit_microcents: Mapped[int] = mapped_column(BigInteger)
    spent_microcents: Mapped[int] = mapped_column(BigInteger)
    reserved_microcents: Mapped[int] = mapped_column(BigInteger)
    on_exceeded: Mapped[str] = mapped_column(String(16))  # abort | pause
