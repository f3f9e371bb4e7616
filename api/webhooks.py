"""`/api/webhooks`: where events are sent, and what became of each."""

from typing import Any

from api.nouns import Call, Nouns
from api.schemas import webhooks as schemas
from api.schemas.common import PageQuery
from orchestrator.services import delivery_views, replaying, webhooks

bp = Nouns("webhooks", __name__, url_prefix="/api/webhooks", tag="webhooks")


@bp.post("")
@bp.view("admin", body=schemas.WebhookBody, returns=schemas.WebhookWithSecret, status=201)
def create_webhook(call: Call) -> Any:
    """Make a webhook; its secret is shown this once."""
    return webhooks.create(call.deps, call.actor, call.body, call.once)


@bp.get("")
@bp.view("read", query=PageQuery, returns=schemas.Webhooks)
def list_webhooks(call: Call) -> Any:
    """List webhooks with how their receivers do, the newest first."""
    return webhooks.list_(call.deps, call.actor, call.page())


@bp.get("/dead-letters")
@bp.view("read", query=PageQuery, returns=schemas.Deliveries)
def list_dead_letters(call: Call) -> Any:
    """List the deliveries that were given up, of all webhooks, the newest first."""
    return delivery_views.page(call.deps, call.actor, call.page(), webhook_id=None, statuses=("dead",))


@bp.get("/<webhook>")
@bp.view("read", returns=schemas.Webhook)
def get_webhook(call: Call, webhook: str) -> Any:
    """Read a webhook, without its secret."""
    return webhooks.get(call.deps, call.actor, webhook)


@bp.patch("/<webhook>")
@bp.view("admin", body=schemas.WebhookPatch, returns=schemas.Webhook)
def update_webhook(call: Call, webhook: str) -> Any:
    """Change what is given; disabled, what waits for it is stopped."""
    return webhooks.update(call.deps, call.actor, webhook, call.body, call.once)


@bp.delete("/<webhook>")
@bp.view("admin", returns=schemas.Webhook)
def remove_webhook(call: Call, webhook: str) -> Any:
    """Remove a webhook; what waits for it is stopped."""
    return webhooks.remove(call.deps, call.actor, webhook, call.once)


@bp.post("/<webhook>/rotate-secret")
@bp.view("admin", body=schemas.RotateSecretBody, returns=schemas.WebhookWithSecret)
def rotate_webhook_secret(call: Call, webhook: str) -> Any:
    """Give a webhook another secret; for a while both sign."""
    return webhooks.rotate_secret(call.deps, call.actor, webhook, call.body, call.once)


@bp.post("/<webhook>/test")
@bp.view("admin", returns=schemas.Delivery, status=202)
def test_webhook(call: Call, webhook: str) -> Any:
    """Send an event `webhook.test` there."""
    return webhooks.test(call.deps, call.actor, webhook, call.once)


@bp.get("/<webhook>/deliveries")
@bp.view("read", query=schemas.DeliveryQuery, returns=schemas.Deliveries)
def list_deliveries(call: Call, webhook: str) -> Any:
    """List what was sent to a webhook, or is to be, the newest first, with each attempt."""
    wanted = (call.query["status"],) if "status" in call.query else ()
    return delivery_views.of_webhook(call.deps, call.actor, webhook, call.page(), wanted)


@bp.post("/deliveries/<delivery>/replay")
@bp.view("admin", returns=schemas.Delivery)
def replay_delivery(call: Call, delivery: str) -> Any:
    """Send a delivery that ended again, with a fresh set of attempts under its id."""
    return replaying.replay(call.deps, call.actor, None, delivery, call.once)


@bp.post("/<webhook>/deliveries/<delivery>/replay")
@bp.view("admin", returns=schemas.Delivery)
def replay_delivery_of_webhook(call: Call, webhook: str, delivery: str) -> Any:
    """The same, named by its webhook too."""
    return replaying.replay(call.deps, call.actor, webhook, delivery, call.once)


@bp.post("/replay-missing")
@bp.view("admin", body=schemas.ReplayMissingBody, returns=schemas.Replayed)
def replay_missing_of_all(call: Call) -> Any:
    """Send all that the workspace's enabled webhooks have missed since a moment."""
    return replaying.replay_missing(call.deps, call.actor, None, call.body["since"], call.once)


@bp.post("/<webhook>/replay-missing")
@bp.view("admin", body=schemas.ReplayMissingBody, returns=schemas.Replayed)
def replay_missing(call: Call, webhook: str) -> Any:
    """Send all that was given up or stopped, or never noted, of events since a moment."""
    return replaying.replay_missing(call.deps, call.actor, webhook, call.body["since"], call.once)
