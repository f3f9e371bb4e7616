"""Webhooks: where events are sent, what is to be sent there, and how each attempt went."""

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String, Text, UniqueConstraint, text, true
from sqlalchemy.orm import Mapped, mapped_column

from models.base import At, Base, Id, Json, JsonValue, Key, Moment

_PENDING = text("status = 'pending'")
_SENDING = text("status = 'sending'")


class Webhook(Base):
    """An endpoint of a workspace. `events` are patterns; `secret` and `previous_secret` are encrypted.

    previous_secret: signs beside `secret` until `previous_until`. enabled_at: it gets the events from then on;
    disabled_reason: why the engine has disabled it. failures: attempts that failed in a row, since
    `failing_since`; `disable_at`, of the virtual clock, is when that disables it.
    """

    __tablename__ = "webhook"
    __table_args__ = (Index(None, "workspace_id", "id"),)

    id: Mapped[Key]
    workspace_id: Mapped[Id] = mapped_column(ForeignKey("workspace.id"))
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[JsonValue]
    description: Mapped[str] = mapped_column(Text)
    secret: Mapped[str] = mapped_column(Text)
    previous_secret: Mapped[str | None] = mapped_column(Text)
    previous_until: Mapped[datetime | None] = mapped_column(Moment)
    enabled: Mapped[bool] = mapped_column(Boolean, server_default=true())
    enabled_at: Mapped[At]
    disabled_at: Mapped[datetime | None] = mapped_column(Moment)
    disabled_reason: Mapped[str | None] = mapped_column(Text)
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    failing_since: Mapped[datetime | None] = mapped_column(Moment)
    disable_at: Mapped[datetime | None] = mapped_column(Moment)
    last_success_at: Mapped[datetime | None] = mapped_column(Moment)
    last_failure_at: Mapped[datetime | None] = mapped_column(Moment)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[At]
    updated_at: Mapped[At]


class WebhookDelivery(Base):
    """One event for one webhook; its id is the `webhook-id` of every attempt. It outlives its webhook.

    event: names the event, so that it is delivered to a webhook once. body: what is sent, byte for byte.
    attempt: the fence, raised each time it is taken; tries: outcomes of this set of attempts. `due_at` is of the
    virtual clock; `lease_until`, while it is being sent, of the database's. ended_at: delivered, dead or stopped.
    """

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        UniqueConstraint("webhook_id", "event"),
        Index(None, "webhook_id", "id"),
        Index(None, "workspace_id", "status", "id"),
        Index(
            "ix_webhook_delivery_pending",
            "webhook_id",
            "due_at",
            postgresql_where=_PENDING,
            sqlite_where=_PENDING,
        ),
        Index(
            "ix_webhook_delivery_sending",
            "lease_until",
            "webhook_id",
            postgresql_where=_SENDING,
            sqlite_where=_SENDING,
        ),
        Index(None, "status", "ended_at"),
    )

    id: Mapped[Key]
    workspace_id: Mapped[Id]
    webhook_id: Mapped[Id]
    event: Mapped[str] = mapped_column(String(128))
    type: Mapped[str] = mapped_column(String(64))
    run_id: Mapped[str | None] = mapped_column(String(36))
    seq: Mapped[int | None] = mapped_column(Integer)
    body: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16))  # models.states.DeliveryStatus
    attempt: Mapped[int] = mapped_column(Integer)
    tries: Mapped[int] = mapped_column(Integer)
    due_at: Mapped[datetime | None] = mapped_column(Moment)
    claimed_at: Mapped[datetime | None] = mapped_column(Moment)
    lease_until: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[At]
    ended_at: Mapped[datetime | None] = mapped_column(Moment)


class WebhookAttempt(Base):
    """One POST: what was sent, what came back, and why it counts as failed; `lost`: its worker has died with it."""

    __tablename__ = "webhook_attempt"

    delivery_id: Mapped[Id] = mapped_column(
        ForeignKey("webhook_delivery.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    url: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16))  # delivered | failed | lost
    request_headers: Mapped[Any] = mapped_column(Json)
    response_status: Mapped[int | None] = mapped_column(Integer)
    response_headers: Mapped[Any] = mapped_column(Json, nullable=True)
    response_body: Mapped[str | None] = mapped_column(Text)
    error: Mapped[Any] = mapped_column(Json, nullable=True)  # {code, message}
    started_at: Mapped[At]
    finished_at: Mapped[At]
