"""`client.webhooks`: where events are sent, and what became of each."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.client.transport import Transport, segment
from orchestrator.client.webhook_answers import Delivery, DeliveryStatus, Replayed, Webhook, WebhookWithSecret


class Webhooks:
    """Webhooks by id; every call but reading needs the scope `admin`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        url: str,
        events: Sequence[str],
        *,
        description: str = "",
        secret: str | None = None,
        idempotency_key: str | None = None,
    ) -> WebhookWithSecret:
        """Make a webhook; its `secret` is shown this once. `events`: types such as `step.failed`, `run.*`, `*`."""
        body: dict[str, Any] = {"url": url, "events": list(events), "description": description}
        body |= {} if secret is None else {"secret": secret}
        made: WebhookWithSecret = self._transport.write(
            "POST", "/api/webhooks", body, idempotency_key=idempotency_key
        )
        return made

    def list(self, limit: int | None = None) -> Iterator[Webhook]:
        """Webhooks, the newest first."""
        return self._transport.pages("/api/webhooks", limit)

    def get(self, webhook: str) -> Webhook:
        """A webhook, without its secret."""
        found: Webhook = self._transport.get(_path(webhook))
        return found

    def update(self, webhook: str, changes: Mapping[str, Any]) -> Webhook:
        """Change what is given, such as `{"enabled": False}`, which stops what waits for it."""
        changed: Webhook = self._transport.write("PATCH", _path(webhook), dict(changes))
        return changed

    def delete(self, webhook: str) -> Webhook:
        """Remove a webhook; what waits for it is stopped."""
        removed: Webhook = self._transport.write("DELETE", _path(webhook))
        return removed

    def rotate_secret(
        self,
        webhook: str,
        *,
        grace_seconds: int = 86_400,
        secret: str | None = None,
        idempotency_key: str | None = None,
    ) -> WebhookWithSecret:
        """Another secret, shown this once; the one before signs beside it through the grace."""
        body: dict[str, Any] = {"grace_seconds": grace_seconds}
        body |= {} if secret is None else {"secret": secret}
        path = f"{_path(webhook)}/rotate-secret"
        rotated: WebhookWithSecret = self._transport.write("POST", path, body, idempotency_key=idempotency_key)
        return rotated

    def test(self, webhook: str) -> Delivery:
        """Send an event `webhook.test` there."""
        sent: Delivery = self._transport.write("POST", f"{_path(webhook)}/test")
        return sent

    def deliveries(
        self, webhook: str, limit: int | None = None, *, status: DeliveryStatus | None = None
    ) -> Iterator[Delivery]:
        """What was sent or is to be, the newest first, with each attempt."""
        return self._transport.pages(f"{_path(webhook)}/deliveries", limit, status=status)

    def dead_letters(self, limit: int | None = None) -> Iterator[Delivery]:
        """What was given up, of all webhooks, the newest first."""
        return self._transport.pages("/api/webhooks/dead-letters", limit)

    def replay(self, webhook: str, delivery: str) -> Delivery:
        """Send a delivery that ended again. Raises Conflict while it goes on, or its webhook is disabled."""
        path = f"{_path(webhook)}/deliveries/{segment(delivery)}/replay"
        replayed: Delivery = self._transport.write("POST", path)
        return replayed

    def replay_missing(self, webhook: str, since: str) -> Replayed:
        """Send all that was given up, stopped or never noted, of events since a time (RFC 3339)."""
        path = f"{_path(webhook)}/replay-missing"
        replayed: Replayed = self._transport.write("POST", path, {"since": since})
        return replayed


def _path(webhook: str) -> str:
    return f"/api/webhooks/{segment(webhook)}"
