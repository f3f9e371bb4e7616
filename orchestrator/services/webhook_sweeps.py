"""The sweep of webhooks: events become deliveries, due ones are sent, lost ones put back, old ones forgotten."""

from datetime import datetime, timedelta

from models.queries import delivery_log, sweeps
from models.states import DeliveryStatus
from orchestrator.services import delivering, webhook_feed
from orchestrator.services.deps import Deps
from orchestrator.services.swept import BATCH, Swept

DEAD_KEPT = timedelta(days=30)


def webhooks(deps: Deps) -> Swept:
    """Note what events are to be delivered, and send what is due."""
    webhook_feed.feed(deps)
    delivering.recover(deps)
    effects = delivering.due(deps)
    return Swept(effects=effects, found=len(effects))


def purge(deps: Deps) -> int:
    """Forget deliveries after `EVENT_RETENTION_HOURS`, dead letters after 30 days; how many went."""
    with deps.db.read() as session:
        now = sweeps.moment(session)
        old = [(s, at) for s, at in _kept(deps, now) if delivery_log.any_old(session, s, at)]
    if not old:
        return 0
    with deps.db.transaction() as session:
        return max(delivery_log.purge(session, status, before, BATCH) for status, before in old)


def _kept(deps: Deps, now: datetime) -> tuple[tuple[DeliveryStatus, datetime], ...]:
    ended = now - timedelta(hours=deps.settings.event_retention_hours)
    return (
        (DeliveryStatus.DELIVERED, ended),
        (DeliveryStatus.STOPPED, ended),
        (DeliveryStatus.DEAD, now - DEAD_KEPT),
    )
