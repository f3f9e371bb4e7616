"""Reads for the check of the audit log's chain. Nothing here locks or writes."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, exists, func, select, text
from sqlalchemy.orm import Session

from models.audit import Audit, AuditSeal, AuditUnsealed

_TABLES = ("audit", "audit_seal")
_GUARDS_POSTGRESQL = """
SELECT tgname FROM pg_trigger
WHERE tgrelid IN ('audit'::regclass, 'audit_seal'::regclass) AND NOT tgisinternal AND tgenabled = 'A'
"""
_GUARDS_SQLITE = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN ('audit', 'audit_seal')"


def links(session: Session, after: int, limit: int) -> Sequence[Row[AuditSeal, Audit | None]]:
    """Links above a position, in order, with their acts: None where one is gone."""
    query = select(AuditSeal, Audit).outerjoin(Audit, Audit.id == AuditSeal.audit_id)
    return session.execute(query.where(AuditSeal.position > after).order_by(AuditSeal.position).limit(limit)).all()


def digest_at(session: Session, position: int) -> str | None:
    """The digest of a link; None where there is none."""
    return session.scalar(select(AuditSeal.digest).where(AuditSeal.position == position))


def acts(session: Session, after: str | None, limit: int) -> Sequence[Row[str, bool, bool]]:
    """Ids of acts above `after`, in order; whether each has a link, and whether it waits for one."""
    sealed = exists().where(AuditSeal.audit_id == Audit.id)
    waits = exists().where(AuditUnsealed.audit_id == Audit.id)
    query: Any = select(Audit.id, sealed, waits).order_by(Audit.id).limit(limit)
    return session.execute(query if after is None else query.where(Audit.id > after)).all()


def waiting(session: Session) -> int:
    """How many acts wait for their link."""
    return int(session.execute(select(func.count()).select_from(AuditUnsealed)).scalar_one())


def lost(session: Session, limit: int) -> Sequence[str]:
    """Acts that wait for their link and are gone."""
    gone = ~exists().where(Audit.id == AuditUnsealed.audit_id)
    query = select(AuditUnsealed.audit_id).where(gone).order_by(AuditUnsealed.audit_id)
    return session.scalars(query.limit(limit)).all()


def missing_guards(session: Session) -> list[str]:
    """The triggers that the migrations put on the log and that are gone or switched off."""
    sqlite = session.get_bind().dialect.name == "sqlite"
    kinds = ("update", "delete", "replace") if sqlite else ("row", "truncate")
    expected = {f"{table}_refuse_{kind}" for table in _TABLES for kind in kinds}
    return sorted(expected - set(session.scalars(text(_GUARDS_SQLITE if sqlite else _GUARDS_POSTGRESQL))))
