"""API keys: find by digest, list, revoke."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, Select, or_, select, update
from sqlalchemy.orm import Session

from models.queries.dialect import as_id
from models.queries.runs import now
from models.workspace import ApiKey, Workspace


def by_digest(session: Session, digest: str) -> ApiKey | None:
    """The live key of a digest; one that was rotated lives to the end of its grace."""
    live = ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now(session))
    return session.scalars(select(ApiKey).where(ApiKey.digest == digest, *live)).first()


def find(session: Session, workspace_id: str | None, key_id: str) -> Row[ApiKey, str] | None:
    """A key and its workspace's name; None as workspace looks in all."""
    return session.execute(_keys(workspace_id).where(ApiKey.id == as_id(key_id))).first()


def page(
    session: Session, *, workspace_id: str | None, before: str | None, limit: int
) -> Sequence[Row[ApiKey, str]]:
    """Keys with their workspaces' names, newest first, after the one of id `before`."""
    query = _keys(workspace_id).order_by(ApiKey.id.desc()).limit(limit)
    if before is not None:
        query = query.where(ApiKey.id < before)
    return session.execute(query).all()


def revoke(session: Session, key_id: str, at: datetime) -> None:
    """End a key; one that is revoked already keeps its date."""
    session.execute(
        update(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None)).values(revoked_at=at)
    )


def expire(session: Session, agent_id: str, at: datetime) -> None:
    """The keys of an agent end at a moment, where they do not end earlier."""
    later = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > at)
    session.execute(
        update(ApiKey).where(ApiKey.agent_id == agent_id, ApiKey.revoked_at.is_(None), later).values(expires_at=at)
    )


def revoke_of(session: Session, agent_id: str, at: datetime) -> None:
    """End all keys of an agent."""
    session.execute(
        update(ApiKey).where(ApiKey.agent_id == agent_id, ApiKey.revoked_at.is_(None)).values(revoked_at=at)
    )


def _keys(workspace_id: str | None) -> Select[ApiKey, str]:
    query = select(ApiKey, Workspace.name).join(Workspace, Workspace.id == ApiKey.workspace_id)
    return query if workspace_id is None else query.where(ApiKey.workspace_id == workspace_id)
