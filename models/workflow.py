"""Workflows and their immutable versions."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import At, Base, Id, Json, Key, Moment, Name


class Workflow(Base):
    """A name in a workspace; `current_version` is the number of its newest version."""

    __tablename__ = "workflow"
    __table_args__ = (UniqueConstraint("workspace_id", "name"), Index(None, "workspace_id", "id"))

    id: Mapped[Key]
    workspace_id: Mapped[Id] = mapped_column(ForeignKey("workspace.id"))
    name: Mapped[Name]
    current_version: Mapped[int]
    created_at: Mapped[At]
    updated_at: Mapped[At]
    archived_at: Mapped[datetime | None] = mapped_column(Moment)


class WorkflowVersion(Base):
    """One definition, never changed: the document, its plan, and what was derived from it at write time."""

    __tablename__ = "workflow_version"
    __table_args__ = (UniqueConstraint("workflow_id", "number"),)

    id: Mapped[Key]
    workflow_id: Mapped[Id] = mapped_column(ForeignKey("workflow.id"))
    number: Mapped[int]
    digest: Mapped[Name]  # SHA-256 of the canonical JSON of the definition
    definition: Mapped[Any] = mapped_column(Json)
    plan: Mapped[str] = mapped_column(Text)
    classification: Mapped[Any] = mapped_column(Json)  # {class, reasons}
    estimated_cost_cents: Mapped[int]
    estimate_is_lower_bound: Mapped[bool]
    created_at: Mapped[At]
    created_by: Mapped[str | None] = mapped_column(String(255))
