"""One delivery on its way: taken when it is due, claimed by a worker, POSTed, and ended or put off.

Source: spec "mission" P5, "reliability" §5 and §6. At least once: a worker that dies between the POST and its
record leaves a lease that runs out, and the delivery is sent again under the same id.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy.orm import Session

from models.queries import deliveries, operational, sweeps, webhooks
from models.queries.deliveries import Claimed, Lost, Taken
from models.states import DeliveryStatus
from models.webhook import Webhook
from orchestrator.core import redelivery
from orchestrator.core.effects import Deliver, Effect
from orchestrator.services import posting
from orchestrator.services.crash import crash_point
from orchestrator.services.deps import Deps
from orchestrator.services.posting import Posted
from orchestrator.services.swept import BATCH, each

_log = structlog.get_logger(__name__)
AT_ONCE = 5  # POSTs of one webhook: a slow receiver holds up no other
UNCLAIMED_SECONDS = 15.0  # until a message that nobody took counts as lost
LEASE_SECONDS = 30.0  # of a POST, which ends within posting.SECONDS
IN_A_ROW = 100  # that a worker sends for one message
DISABLE_AFTER = timedelta(days=5)
GONE = 410


def due(deps: Deps) -> tuple[Effect, ...]:
    """Take what is due, at most AT_ONCE of a webhook: messages for workers."""
    moment = _virtual_now(deps)
    with deps.db.read() as session:
        ready = webhooks.with_due(session, moment, AT_ONCE, BATCH)
    return each(deps, ready, lambda deps, webhook_id: _take(deps, webhook_id, moment))


def _take(deps: Deps, webhook_id: str, moment: datetime) -> tuple[Effect, ...]:
    with deps.db.transaction() as session:
        webhook = webhooks.hold(session, webhook_id, wait=False)
        if webhook is None or not webhook.enabled:
            return ()
        room = AT_ONCE - deliveries.in_flight(session, webhook_id)
        until = sweeps.moment(session) + timedelta(seconds=UNCLAIMED_SECONDS)
        taken = deliveries.take(session, webhook_id, moment, room, until) if room > 0 else []
    crash_point("after_webhook_taken")
    return tuple(Deliver(delivery_id=found.id, attempt=found.attempt) for found in taken)


def recover(deps: Deps) -> None:
    """Put back what a worker, a message or a beat lost; it is due at once."""
    with deps.db.read() as session:
        found = deliveries.lost(session, sweeps.moment(session), BATCH)
    each(deps, found, _put_back)


def _put_back(deps: Deps, lost: Lost) -> tuple[Effect, ...]:
    with deps.db.transaction() as session:
        webhook = webhooks.hold(session, lost.webhook_id)
        goes_on = webhook is not None and webhook.enabled
        to = DeliveryStatus.PENDING if goes_on else DeliveryStatus.STOPPED
        moved = deliveries.move(session, lost.id, lost.attempt, to, due_at=_virtual_now(deps), tries=0)
        if moved and lost.begun is not None:
            _log.warning("the worker was lost while it sent a webhook", delivery=lost.id, attempt=lost.attempt)
            deliveries.note_attempt(session, posting.lost(lost, webhook, sweeps.moment(session)))
    return ()


def _always() -> bool:
    return True


def carry(deps: Deps, delivery_id: str, attempt: int, goes_on: Callable[[], bool] = _always) -> None:
    """Send a delivery, and then what else is due of its webhook, so that its place never stands empty.

    goes_on: asked before each POST; what was taken before it says no is put back by the sweep.
    """
    taken: Taken | None = Taken(id=delivery_id, attempt=attempt)
    for _ in range(IN_A_ROW):
        if taken is None or not goes_on():
            return
        taken = _send(deps, taken)


def _send(deps: Deps, taken: Taken) -> Taken | None:
    """Send one delivery; the next one of its webhook."""
    with deps.db.transaction() as session:
        until = sweeps.moment(session) + timedelta(seconds=LEASE_SECONDS)
        claimed = deliveries.claim(session, taken, until)
    if claimed is None:
        return None
    posted = posting.post(deps, claimed)
    crash_point("after_webhook_post")
    with deps.db.transaction() as session:
        return _record(deps, session, claimed, posted)


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """What an attempt comes to: where the delivery goes, and why the webhook is disabled for it."""

    to: DeliveryStatus
    due_at: datetime | None = None
    disables: str | None = None


def _record(deps: Deps, session: Session, claimed: Claimed, posted: Posted) -> Taken | None:
    webhook = webhooks.hold(session, claimed.webhook_id)
    end = _end(deps, claimed, posted, webhook)
    if not deliveries.move(session, claimed.id, claimed.attempt, end.to, due_at=end.due_at, tries=1):
        return None  # its lease had run out: it is sent again
    deliveries.note_attempt(session, posted.row)
    if end.to is DeliveryStatus.DEAD:
        _alert(session, claimed, posted)
    if webhook is None:
        return None
    if posted.error is None:
        webhooks.succeeded(session, webhook.id)
    else:
        webhooks.failed(session, webhook.id, posted.error, _virtual_now(deps) + DISABLE_AFTER)
    if end.disables is not None:
        disable(session, webhook, end.disables)
    if end.disables is not None or not webhook.enabled:
        return None
    until = sweeps.moment(session) + timedelta(seconds=UNCLAIMED_SECONDS)
    following = deliveries.take(session, webhook.id, _virtual_now(deps), 1, until)
    return following[0] if following else None


def _end(deps: Deps, claimed: Claimed, posted: Posted, webhook: Webhook | None) -> _End:
    if posted.error is None:
        return _End(to=DeliveryStatus.DELIVERED)
    if webhook is None or not webhook.enabled:
        return _End(to=DeliveryStatus.STOPPED)
    if posted.status == GONE:
        return _End(to=DeliveryStatus.STOPPED, disables="the receiver answered 410 Gone")
    now = _virtual_now(deps)
    since = webhook.disable_at
    disables = None
    if since is not None and since <= now:
        disables = f"nothing but failures for {DISABLE_AFTER.days} days"
    wait = redelivery.wait(claimed.tries + 1, random.random(), posted.retry_after)  # noqa: S311 - jitter
    if wait is None:
        return _End(to=DeliveryStatus.DEAD, disables=disables)
    if disables is not None:
        return _End(to=DeliveryStatus.STOPPED, disables=disables)
    return _End(to=DeliveryStatus.PENDING, due_at=now + timedelta(seconds=wait))


def _alert(session: Session, claimed: Claimed, posted: Posted) -> None:
    """Tell that a delivery is given up; of one that tells of webhooks nobody is told, it would never end."""
    _log.error("webhook dead-lettered", webhook=claimed.webhook_id, delivery=claimed.id, type=claimed.type)
    if not claimed.type.startswith("webhook."):
        data = {
            "webhook_id": claimed.webhook_id,
            "delivery_id": claimed.id,
            "event_type": claimed.type,
            "run_id": claimed.run_id,
            "error": posted.error,
        }
        operational.note(session, "webhook.dead_lettered", [(claimed.workspace_id, data)])


def disable(session: Session, webhook: Webhook, reason: str) -> None:
    """The engine ends a webhook; what waits to be sent there is stopped. The caller holds it."""
    webhooks.seize(session, webhook.id)
    webhooks.disable(session, webhook.id, reason)
    stopped = deliveries.stop(session, webhook.id)
    data: Mapping[str, Any] = {"webhook_id": webhook.id, "reason": reason, "stopped": stopped}
    operational.note(session, "webhook.disabled", [(webhook.workspace_id, data)])
    _log.warning("webhook disabled", webhook=webhook.id, reason=reason)


def _virtual_now(deps: Deps) -> datetime:
    return datetime.fromtimestamp(deps.clock.now(), UTC)
