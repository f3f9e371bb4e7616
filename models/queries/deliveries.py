"""Deliveries of webhooks on their way: noted once an event, taken when due, claimed, ended.

Lock order: see `webhooks`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import exists, func, select, update
from sqlalchemy import insert as plain_insert
from sqlalchemy.orm import Session

from models.base import uuid7
from models.queries.dialect import insert
from models.queries.runs import now
from models.run import Run
from models.states import DeliveryStatus, delivery_sources
from models.webhook import Webhook, WebhookAttempt, WebhookDelivery
from models.workflow import Workflow

_ROWS = 500  # of one statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A delivery that is to be sent, under a fence."""

    id: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A delivery that a worker sends now; secrets as they are stored. `tries`: outcomes before this one."""

    id: str
    webhook_id: str
    workspace_id: str
    type: str
    run_id: str | None
    attempt: int
    tries: int
    body: str
    url: str
    secret: str
    previous_secret: str | None
    previous_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A delivery whose lease has run out; `begun`: a worker had claimed it."""

    id: str
    webhook_id: str
    attempt: int
    begun: datetime | None


def add(session: Session, rows: Sequence[Mapping[str, Any]], due_at: datetime) -> int:
    """Note deliveries, due then; one of an event that its webhook has already is left out. How many were noted."""
    at, noted = now(session), 0
    for first in range(0, len(rows), _ROWS):
        values = [
            {**row, "id": uuid7(), "status": "pending", "attempt": 0, "tries": 0, "due_at": due_at, "created_at": at}
            for row in rows[first : first + _ROWS]
        ]
        added = insert(session, WebhookDelivery).values(values)
        added = added.on_conflict_do_nothing(index_elements=["webhook_id", "event"])
        noted += len(session.execute(added.returning(WebhookDelivery.id)).all())
    return noted


def workflow_names(session: Session, run_ids: Sequence[str]) -> dict[str, str]:
    """The names of the workflows of these runs."""
    query = select(Run.id, Workflow.name).join(Workflow, Workflow.id == Run.workflow_id)
    found: dict[str, str] = {}
    for first in range(0, len(run_ids), _ROWS):
        rows = session.execute(query.where(Run.id.in_(run_ids[first : first + _ROWS])))
        found.update({row.id: row.name for row in rows})
    return found


def in_flight(session: Session, webhook_id: str) -> int:
    """How many deliveries of a webhook are being sent."""
    query = select(func.count()).select_from(WebhookDelivery)
    query = query.where(WebhookDelivery.status == "sending", WebhookDelivery.webhook_id == webhook_id)
    return session.execute(query).scalar_one()


def take(
    session: Session, webhook_id: str, moment: datetime, limit: int, lease_until: datetime
) -> list[Taken]:
    """The deliveries of a webhook that are due by the virtual clock, the first due first: they are being sent."""
    due = (
        select(WebhookDelivery.id)
        .where(
            WebhookDelivery.webhook_id == webhook_id,
            WebhookDelivery.status == "pending",
            WebhookDelivery.due_at <= moment,
        )
        .order_by(WebhookDelivery.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = session.scalars(due).all()
    changed = (
        update(WebhookDelivery)
        .where(WebhookDelivery.id.in_(ids), WebhookDelivery.status.in_(delivery_sources(DeliveryStatus.SENDING)))
        .values(
            status=DeliveryStatus.SENDING,
            attempt=WebhookDelivery.attempt + 1,
            claimed_at=None,
            lease_until=lease_until,
        )
    )
    rows = session.execute(changed.returning(WebhookDelivery.id, WebhookDelivery.attempt)) if ids else ()
    return [Taken(id=row.id, attempt=row.attempt) for row in rows]


def claim(session: Session, taken: Taken, lease_until: datetime) -> Claimed | None:
    """Begin to send; None: another has begun, or it was taken anew, or its webhook is gone or disabled."""
    wanted = exists().where(Webhook.id == WebhookDelivery.webhook_id, Webhook.enabled.is_(True))
    changed = (
        update(WebhookDelivery)
        .where(
            WebhookDelivery.id == taken.id,
            WebhookDelivery.attempt == taken.attempt,
            WebhookDelivery.status == "sending",
            WebhookDelivery.claimed_at.is_(None),
            wanted,
        )
        .values(claimed_at=now(session), lease_until=lease_until)
    )
    if session.execute(changed.returning(WebhookDelivery.id)).first() is None:
        return None
    row = session.execute(
        select(
            *(WebhookDelivery.id, WebhookDelivery.webhook_id, WebhookDelivery.workspace_id),
            *(WebhookDelivery.type, WebhookDelivery.run_id, WebhookDelivery.attempt, WebhookDelivery.tries),
            *(WebhookDelivery.body, Webhook.url, Webhook.secret, Webhook.previous_secret, Webhook.previous_until),
        )
        .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
        .where(WebhookDelivery.id == taken.id)
    ).one_or_none()
    return None if row is None else Claimed(**row._mapping)


def move(
    session: Session, delivery_id: str, attempt: int, to: DeliveryStatus, *, due_at: datetime | None, tries: int
) -> bool:
    """End an attempt: the delivery waits until `due_at`, or has ended; False where the fence has risen since.

    tries: what this attempt adds to its outcomes.
    """
    changed = (
        update(WebhookDelivery)
        .where(
            WebhookDelivery.id == delivery_id,
            WebhookDelivery.attempt == attempt,
            WebhookDelivery.status == "sending",
        )
        .values(
            status=to,
            due_at=due_at,
            tries=WebhookDelivery.tries + tries,
            claimed_at=None,
            lease_until=None,
            ended_at=None if to is DeliveryStatus.PENDING else now(session),
        )
    )
    return session.execute(changed.returning(WebhookDelivery.id)).first() is not None


def note_attempt(session: Session, values: Mapping[str, Any]) -> None:
    """Keep how an attempt went."""
    session.execute(plain_insert(WebhookAttempt).values(**values))


def lost(session: Session, moment: datetime, limit: int) -> list[Lost]:
    """Deliveries whose lease had run out at a moment of the database's clock."""
    table = WebhookDelivery
    query = select(table.id, table.webhook_id, table.attempt, table.claimed_at.label("begun"))
    query = query.where(table.status == "sending", table.lease_until < moment)
    return [Lost(**row._mapping) for row in session.execute(query.order_by(table.lease_until).limit(limit))]


def stranded(session: Session, limit: int) -> Sequence[str]:
    """Deliveries that wait for a webhook which is gone or disabled: nothing would ever send or stop them."""
    wanted = exists().where(Webhook.id == WebhookDelivery.webhook_id, Webhook.enabled.is_(True))
    query = select(WebhookDelivery.id).where(WebhookDelivery.status == "pending", ~wanted)
    return session.scalars(query.limit(limit)).all()


def stop(session: Session, webhook_id: str) -> int:
    """Stop what waits to be sent or to be claimed; a POST that has begun ends by itself. How many were stopped."""
    mine = update(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id)
    stopped = {"status": DeliveryStatus.STOPPED, "due_at": None, "lease_until": None, "ended_at": now(session)}
    waiting = mine.where(WebhookDelivery.status == "pending")
    unclaimed = mine.where(WebhookDelivery.status == "sending", WebhookDelivery.claimed_at.is_(None))
    found = [
        session.execute(changed.values(**stopped).returning(WebhookDelivery.id)).all()
        for changed in (waiting, unclaimed)
    ]
    return sum(map(len, found))
