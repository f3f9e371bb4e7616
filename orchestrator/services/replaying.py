"""Deliveries that ended are sent again: one, or all that a webhook has missed. The `webhook-id` stays the same."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from models.errors import ConflictError, NotFoundError
from models.queries import delivery_log, event_search, sweeps
from models.queries import webhooks as queries
from models.queries.event_search import EventFilter
from models.queries.journal import Entry
from models.webhook import Webhook
from orchestrator.services import auditing, delivery_views, webhook_feed, webhooks
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.shapes import moment

PAGE, ROUNDS, MOST = 500, 50, 10_000  # events that are looked through for a webhook


def replay(deps: Deps, actor: Actor, webhook: str | None, delivery: str, once: Once) -> dict[str, Any]:
    """A fresh set of attempts for a delivery, of whichever webhook where none is named.

    Raises NotFoundError, ConflictError (it goes on, or is disabled).
    """
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        webhook = webhook or delivery_log.owner(session, actor.workspace_id, delivery)
        if webhook is None:
            lists = "GET /api/webhooks/dead-letters lists those that were given up"
            raise NotFoundError(f"There is no delivery {delivery!r}; {lists}")
        row = webhooks.locked(session, actor, webhook)
        found = delivery_log.find(session, row.id, delivery)
        if found is None:
            lists = f"GET /api/webhooks/{row.id}/deliveries lists those that it has"
            raise NotFoundError(f"The webhook {row.id} has no delivery {delivery!r}; {lists}")
        webhooks.check_enabled(row)
        if not delivery_log.replay(session, found.id, _now(deps)):
            raise ConflictError(f"The delivery {found.id} is {found.status}: it is sent by itself; wait for its end")
        session.expire_all()
        fresh = delivery_log.find(session, row.id, found.id)
        assert fresh is not None
        answer = delivery_views.view(deps, fresh, delivery_log.attempts(session, [fresh.id]))
        auditing.record(session, actor, "webhook.replay", f"webhook:{row.id}", after={"delivery": fresh.id})
        once.finish(session, answer)
        return answer


def replay_missing(deps: Deps, actor: Actor, webhook: str | None, since: datetime, once: Once) -> dict[str, Any]:
    """All that a webhook has missed since then, None: that every one has that is enabled: {replayed, noted, complete}.

    replayed: deliveries that were dead or stopped. noted: events that it asks for and never had, because it was
    disabled or not there yet; within `EVENT_RETENTION_HOURS`, since what was delivered before may be forgotten.
    complete: false where there are more of them than one call looks at. Raises NotFoundError, ConflictError (it is
    disabled).
    """
    with deps.db.read() as session:
        one = None if webhook is None else webhooks.found(session, actor, webhook)
        rows = queries.enabled(session, actor.workspace_id) if one is None else [one]
        missed = {row.id: _never_noted(deps, session, row, since) for row in rows}
    answer = {"replayed": 0, "noted": 0, "complete": all(complete for _, complete in missed.values())}
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        for webhook_id, (entries, _) in sorted(missed.items()):
            row = webhooks.locked(session, actor, webhook_id) if webhook else _still(session, actor, webhook_id)
            if row is None:
                continue
            webhooks.check_enabled(row)
            answer["replayed"] += delivery_log.replay_missing(session, row.id, since, _now(deps))
            asks = queries.listener(row)
            answer["noted"] += webhook_feed.note(deps, session, [(entry, asks) for entry in reversed(entries)])
        told = {"since": moment(since), **answer}
        auditing.record(session, actor, "webhook.replay_missing", f"webhook:{webhook or '*'}", after=told)
        once.finish(session, answer)
        return answer


def _still(session: Session, actor: Actor, webhook_id: str) -> Webhook | None:
    """One of all, unless it was removed or disabled since."""
    row = queries.lock(session, actor.workspace_id, webhook_id)
    return row if row is not None and row.enabled else None


def _never_noted(deps: Deps, session: Session, row: Webhook, since: datetime) -> tuple[list[Entry], bool]:
    """The events that a webhook asks for, and whether these are all; some of them it may have."""
    kept = sweeps.moment(session) - timedelta(hours=deps.settings.event_retention_hours)
    wanted = EventFilter(types=tuple(row.events), after=max(since, kept))
    found: list[Entry] = []
    place = None
    for _ in range(ROUNDS):
        page = event_search.newest(session, row.workspace_id, wanted, place, PAGE)
        found += page.entries
        place = page.rest
        if place is None or len(found) >= MOST:
            break
    return found, place is None


def _now(deps: Deps) -> datetime:
    return datetime.fromtimestamp(deps.clock.now(), UTC)
