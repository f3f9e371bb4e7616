"""The audit log: written with the act, sealed by one at a time, read newest first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, exists, insert, literal_column, select, text
from sqlalchemy.orm import InstrumentedAttribute, Session

from models.audit import Audit, AuditSeal, AuditUnsealed
from models.base import dump_json, uuid7
from models.queries.dialect import as_id
from models.queries.prepared import Prepared
from models.queries.run_views import CLOCKS_DIFFER, first_id
from models.queries.runs import now

_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('audit', 0))"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which acts; None leaves a criterion out. actor: a key's id or name. action, target: whole, or up to a `*`."""

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    after: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A row of the log before it has its id, in the order of the columns of `ADD`."""

    workspace_id: str
    actor_id: str
    actor: str
    source: str | None
    action: str
    target: str
    reason: str | None
    before: str | None
    after: str | None
    changes: Sequence[Mapping[str, Any]]


ADD = Prepared(
    "audit_add",
    ("uuid", "uuid", "text", "text", "text", "text", "text", "text", "text", "text", "text"),
    """
WITH act AS (
  INSERT INTO audit (id, at, workspace_id, actor_id, actor, source, action, target, reason, before, after, changes)
  VALUES ($1, clock_timestamp(), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
)
INSERT INTO audit_unsealed (audit_id) VALUES ($1) RETURNING audit_id
""",
)


def add(session: Session, act: Act) -> None:
    """Write an act, to be sealed later: on PostgreSQL one statement."""
    audit_id, values = uuid7(), {each.name: getattr(act, each.name) for each in fields(act)}
    if session.get_bind().dialect.name == "sqlite":
        session.execute(insert(Audit).values(id=audit_id, at=now(session), **values))
        session.execute(insert(AuditUnsealed).values(audit_id=audit_id))
    else:
        ADD.rows(session, (audit_id, *(values | {"changes": dump_json(act.changes)}).values()))


def any_unsealed(session: Session) -> bool:
    """Whether an act waits for its seal."""
    return bool(session.scalar(select(exists(select(literal_column("1")).select_from(AuditUnsealed)))))


def take_turn(session: Session) -> bool:
    """Be the one who seals until this transaction ends; False where somebody else is. A write is a turn on SQLite."""
    if session.get_bind().dialect.name == "sqlite":
        return True
    return bool(session.scalar(text(_LOCK)))


def unsealed(session: Session, limit: int) -> Sequence[Audit]:
    """Acts without a seal, the oldest id first: whatever has committed by now, however late it did."""
    query = select(Audit).join(AuditUnsealed, AuditUnsealed.audit_id == Audit.id)
    return session.scalars(query.order_by(AuditUnsealed.audit_id).limit(limit)).all()


def last_seal(session: Session) -> AuditSeal | None:
    """The head of the chain."""
    return session.scalars(select(AuditSeal).order_by(AuditSeal.position.desc()).limit(1)).first()


def add_seals(session: Session, seals: Sequence[Mapping[str, Any]]) -> None:
    """Write the next links {position, audit_id, digest, previous}, whose acts then are sealed."""
    session.execute(insert(AuditSeal).values(sealed_at=now(session)), [dict(seal) for seal in seals])
    done = [seal["audit_id"] for seal in seals]
    session.execute(delete(AuditUnsealed).where(AuditUnsealed.audit_id.in_(done)))


def page(
    session: Session, workspace_id: str, wanted: AuditFilter, *, before: str | None, limit: int
) -> Sequence[Row[Audit, AuditSeal | None]]:
    """A workspace's acts with their seals, newest first, after the one of id `before`."""
    query = (
        select(Audit, AuditSeal)
        .outerjoin(AuditSeal, AuditSeal.audit_id == Audit.id)
        .where(Audit.workspace_id == workspace_id)
        .order_by(Audit.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(Audit.id < before)
    if wanted.actor is not None:
        key = as_id(wanted.actor)
        query = query.where(Audit.actor == wanted.actor if key is None else Audit.actor_id == key)
    for column, text_ in ((Audit.action, wanted.action), (Audit.target, wanted.target)):
        if text_ is not None:
            query = query.where(_is(column, text_))
    if wanted.after is not None:
        query = query.where(Audit.at >= wanted.after, Audit.id >= first_id(wanted.after - CLOCKS_DIFFER))
    if wanted.before is not None:
        query = query.where(Audit.at < wanted.before, Audit.id < first_id(wanted.before + CLOCKS_DIFFER))
    return session.execute(query).all()


def _is(column: InstrumentedAttribute[str], wanted: str) -> ColumnElement[bool]:
    start, star, _ = wanted.partition("*")
    return column.startswith(start, autoescape=True) if star else column == wanted
