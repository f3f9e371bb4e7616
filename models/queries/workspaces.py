"""Workspaces: find, add, list."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from models.base import uuid7
from models.queries.dialect import as_id, insert
from models.workspace import Workspace


def find(session: Session, id_or_name: str) -> Workspace | None:
    """The workspace of a name or an id."""
    return session.scalars(
        select(Workspace).where(or_(Workspace.name == id_or_name, Workspace.id == as_id(id_or_name)))
    ).first()


def add(session: Session, name: str, at: datetime) -> bool:
    """Add a workspace; False when the name is taken."""
    added = session.execute(
        insert(session, Workspace)
        .values(id=uuid7(), name=name, created_at=at)
        .on_conflict_do_nothing(index_elements=["name"])
        .returning(Workspace.id)
    )
    return added.first() is not None


def page(session: Session, *, only: str | None, before: str | None, limit: int) -> Sequence[Workspace]:
    """Workspaces, newest first, after the one of id `before`; `only` narrows to one id."""
    query = select(Workspace).order_by(Workspace.id.desc()).limit(limit)
    if only is not None:
        query = query.where(Workspace.id == only)
    if before is not None:
        query = query.where(Workspace.id < before)
    return session.scalars(query).all()
