"""What the API answers of webhooks and their deliveries."""

from typing import Any, Literal, TypedDict

DeliveryStatus = Literal["pending", "sending", "delivered", "dead", "stopped"]


class Webhook(TypedDict):
    """Where events are sent, and how its receiver does; its secret is not shown."""

    id: str
    url: str
    events: list[str]
    description: str
    enabled: bool
    disabled_at: str | None
    disabled_reason: str | None
    failures: int
    failing_since: str | None
    last_success_at: str | None
    last_failure_at: str | None
    error: str | None
    previous_secret_until: str | None
    created_at: str
    updated_at: str


class WebhookWithSecret(Webhook):
    """A webhook whose secret is shown this once."""

    secret: str


class DeliveryError(TypedDict):
    code: str
    message: str


class DeliveryRequest(TypedDict):
    headers: dict[str, Any]


class DeliveryResponse(TypedDict):
    status: int
    headers: dict[str, Any]
    body: str


class DeliveryAttempt(TypedDict):
    """One POST, and what came back."""

    number: int
    url: str
    status: Literal["delivered", "failed", "lost"]
    request: DeliveryRequest
    response: DeliveryResponse | None
    error: DeliveryError | None
    started_at: str
    finished_at: str
    duration_ms: int


class Delivery(TypedDict):
    """An event on its way to a webhook; `id` is the `webhook-id` that the receiver sees."""

    id: str
    webhook_id: str
    type: str
    run_id: str | None
    seq: int | None
    status: DeliveryStatus
    tries: int
    next_attempt_at: str | None
    body: str
    created_at: str
    ended_at: str | None
    attempts: list[DeliveryAttempt]


class Replayed(TypedDict):
    """How many deliveries are sent again, how many events have one now that had none, and whether these are all."""

    replayed: int
    noted: int
    complete: bool
