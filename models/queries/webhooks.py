"""Webhooks of workspaces: kept, asked who listens, and how their receivers do.

Lock order: a webhook, then its deliveries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, exists, func, insert, literal, select, update
from sqlalchemy.orm import Session

from models.base import Moment, uuid7
from models.queries.dialect import as_id
from models.queries.runs import now
from models.webhook import Webhook, WebhookDelivery

_FORGIVEN: Mapping[str, Any] = {"failures": 0, "failing_since": None, "disable_at": None, "error": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A webhook that is enabled: what it asks for, and since when."""

    id: str
    workspace_id: str
    events: tuple[str, ...]
    enabled_at: datetime


def add(session: Session, values: Mapping[str, Any]) -> str:
    """Add a webhook, enabled from now on; its id."""
    at, webhook_id = now(session), uuid7()
    row = insert(Webhook).values(id=webhook_id, **values, enabled_at=at, created_at=at, updated_at=at)
    session.execute(row)
    return webhook_id


def find(session: Session, workspace_id: str, webhook_id: str) -> Webhook | None:
    """A webhook of a workspace."""
    return session.scalars(
        select(Webhook).where(Webhook.workspace_id == workspace_id, Webhook.id == as_id(webhook_id))
    ).first()


def lock(session: Session, workspace_id: str, webhook_id: str) -> Webhook | None:
    """The same, for this transaction alone: no event comes meanwhile."""
    query = select(Webhook).where(Webhook.workspace_id == workspace_id, Webhook.id == as_id(webhook_id))
    return session.scalars(query.with_for_update()).first()


def hold(session: Session, webhook_id: str, *, wait: bool = True) -> Webhook | None:
    """A webhook of any workspace, whose deliveries this transaction moves alone; events may come meanwhile.

    None: it is gone, or without `wait` another has it.
    """
    query = select(Webhook).where(Webhook.id == webhook_id)
    return session.scalars(query.with_for_update(key_share=True, skip_locked=not wait)).first()


def seize(session: Session, webhook_id: str) -> None:
    """After `hold`: no events come meanwhile either."""
    session.execute(select(Webhook.id).where(Webhook.id == webhook_id).with_for_update())


def page(session: Session, workspace_id: str, *, before: str | None, limit: int) -> Sequence[Webhook]:
    """Webhooks, the newest first, before one of them."""
    query = select(Webhook).where(Webhook.workspace_id == workspace_id)
    query = query if before is None else query.where(Webhook.id < as_id(before))
    return session.scalars(query.order_by(Webhook.id.desc()).limit(limit)).all()


def enabled(session: Session, workspace_id: str) -> Sequence[Webhook]:
    """A workspace's webhooks that are enabled."""
    return session.scalars(select(Webhook).where(Webhook.workspace_id == workspace_id, Webhook.enabled)).all()


def count(session: Session, workspace_id: str) -> int:
    """How many webhooks a workspace has."""
    query = select(func.count()).select_from(Webhook).where(Webhook.workspace_id == workspace_id)
    return session.execute(query).scalar_one()


def listening(session: Session, *, keep: bool = False) -> list[Listener]:
    """The webhooks that are enabled; with `keep` they stay so until the transaction ends."""
    columns = (Webhook.id, Webhook.workspace_id, Webhook.events, Webhook.enabled_at)
    query = select(*columns).where(Webhook.enabled.is_(True)).order_by(Webhook.id)
    rows = session.execute(query.with_for_update(read=True, key_share=True) if keep else query)
    return [listener(row) for row in rows]


def listener(row: Any) -> Listener:
    """What a webhook asks for."""
    events = tuple(row.events)
    return Listener(id=row.id, workspace_id=row.workspace_id, events=events, enabled_at=row.enabled_at)


def with_due(session: Session, moment: datetime, most: int, limit: int) -> Sequence[str]:
    """The enabled webhooks that have deliveries which are due by the virtual clock, and less than `most` being sent."""
    due = exists().where(
        WebhookDelivery.webhook_id == Webhook.id,
        WebhookDelivery.status == "pending",
        WebhookDelivery.due_at <= moment,
    )
    busy = select(WebhookDelivery.webhook_id).where(WebhookDelivery.status == "sending")
    busy = busy.group_by(WebhookDelivery.webhook_id).having(func.count() >= most)
    ready = select(Webhook.id).where(Webhook.enabled.is_(True), due, Webhook.id.not_in(busy))
    return session.scalars(ready.limit(limit)).all()


def change(session: Session, webhook_id: str, values: Mapping[str, Any]) -> None:
    """Write what is given of a webhook."""
    changed = update(Webhook).where(Webhook.id == webhook_id)
    session.execute(changed.values(**values, updated_at=now(session)))


def enable(session: Session, webhook_id: str) -> None:
    """It gets events from now on, and its failures are forgotten."""
    values = {**_FORGIVEN, "enabled": True, "disabled_at": None, "disabled_reason": None}
    change(session, webhook_id, {**values, "enabled_at": now(session)})


def disable(session: Session, webhook_id: str, reason: str | None) -> None:
    """It gets no more events; `reason` where the engine disables it."""
    change(session, webhook_id, {"enabled": False, "disabled_at": now(session), "disabled_reason": reason})


def remove(session: Session, webhook_id: str) -> None:
    """Remove a webhook; its deliveries stay until they are purged."""
    session.execute(delete(Webhook).where(Webhook.id == webhook_id))


def succeeded(session: Session, webhook_id: str) -> None:
    """Its receiver took a delivery."""
    changed = update(Webhook).where(Webhook.id == webhook_id)
    session.execute(changed.values(**_FORGIVEN, last_success_at=now(session)))


def failed(session: Session, webhook_id: str, error: str, disable_at: datetime) -> None:
    """An attempt failed; the first in a row says when, by the virtual clock, the webhook is disabled for them."""
    at = now(session)
    values = {
        "failures": Webhook.failures + 1,
        "failing_since": func.coalesce(Webhook.failing_since, at),
        "disable_at": func.coalesce(Webhook.disable_at, literal(disable_at, Moment)),
        "last_failure_at": at,
        "error": error,
    }
    session.execute(update(Webhook).where(Webhook.id == webhook_id).values(**values))
