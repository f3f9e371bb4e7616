"""What was delivered and what was not: read, replayed, and forgotten after a while."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Select, delete, select, update
from sqlalchemy.orm import Session

from models.queries.dialect import as_id
from models.states import DeliveryStatus, delivery_sources
from models.webhook import WebhookAttempt, WebhookDelivery


def page(
    session: Session,
    workspace_id: str,
    *,
    webhook_id: str | None = None,
    statuses: Collection[str] = (),
    before: str | None,
    limit: int,
) -> Sequence[WebhookDelivery]:
    """Deliveries, the newest first, before one of them."""
    query = select(WebhookDelivery).where(WebhookDelivery.workspace_id == workspace_id)
    if webhook_id is not None:
        query = query.where(WebhookDelivery.webhook_id == webhook_id)
    if statuses:
        query = query.where(WebhookDelivery.status.in_(statuses))
    if before is not None:
        query = query.where(WebhookDelivery.id < as_id(before))
    return session.scalars(query.order_by(WebhookDelivery.id.desc()).limit(limit)).all()


def find(session: Session, webhook_id: str, delivery_id: str) -> WebhookDelivery | None:
    """A delivery of a webhook."""
    named = (WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.id == as_id(delivery_id))
    return session.scalars(select(WebhookDelivery).where(*named)).first()


def owner(session: Session, workspace_id: str, delivery_id: str) -> str | None:
    """The webhook of a workspace's delivery."""
    named = (WebhookDelivery.workspace_id == workspace_id, WebhookDelivery.id == as_id(delivery_id))
    return session.scalar(select(WebhookDelivery.webhook_id).where(*named))


def of_event(session: Session, webhook_id: str, event: str) -> WebhookDelivery:
    """The delivery of an event to a webhook, which must be there."""
    named = (WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.event == event)
    return session.scalars(select(WebhookDelivery).where(*named)).one()


def attempts(session: Session, delivery_ids: Collection[str]) -> Sequence[WebhookAttempt]:
    """How the attempts of deliveries went, the first one first."""
    query = select(WebhookAttempt).where(WebhookAttempt.delivery_id.in_(sorted(delivery_ids)))
    return session.scalars(query.order_by(WebhookAttempt.delivery_id, WebhookAttempt.number)).all()


def replay(session: Session, delivery_id: str, due_at: datetime) -> bool:
    """Give an ended delivery a fresh set of attempts, the first one due then; False where it has not ended."""
    changed = (
        update(WebhookDelivery)
        .where(
            WebhookDelivery.id == delivery_id,
            WebhookDelivery.status.in_(delivery_sources(DeliveryStatus.PENDING) - {DeliveryStatus.SENDING}),
        )
        .values(status=DeliveryStatus.PENDING, tries=0, due_at=due_at, ended_at=None)
    )
    return session.execute(changed.returning(WebhookDelivery.id)).first() is not None


def replay_missing(session: Session, webhook_id: str, since: datetime, due_at: datetime) -> int:
    """The same for all of a webhook that are dead or were stopped, of events noted since then; how many."""
    changed = (
        update(WebhookDelivery)
        .where(
            WebhookDelivery.webhook_id == webhook_id,
            WebhookDelivery.status.in_((DeliveryStatus.DEAD, DeliveryStatus.STOPPED)),
            WebhookDelivery.created_at >= since,
        )
        .values(status=DeliveryStatus.PENDING, tries=0, due_at=due_at, ended_at=None)
    )
    return len(session.execute(changed.returning(WebhookDelivery.id)).all())


def any_old(session: Session, status: DeliveryStatus, before: datetime) -> bool:
    """Whether a delivery ended so before a moment."""
    return session.execute(_old(status, before, 1)).first() is not None


def purge(session: Session, status: DeliveryStatus, before: datetime, limit: int) -> int:
    """Forget at most `limit` deliveries that ended so before a moment, with their attempts; how many went."""
    old = session.scalars(_old(status, before, limit)).all()
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.id.in_(old), WebhookDelivery.status == status))
    return len(old)


def _old(status: DeliveryStatus, before: datetime, limit: int) -> Select[str]:
    old = (WebhookDelivery.status == status, WebhookDelivery.ended_at < before)
    return select(WebhookDelivery.id).where(*old).order_by(WebhookDelivery.ended_at).limit(limit)
