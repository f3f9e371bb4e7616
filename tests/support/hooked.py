"""An engine whose events go to webhooks: made, swept and carried by hand."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from models.database import Database
from models.queries import journal, operational
from orchestrator.core.redelivery import JITTER
from orchestrator.services import delivering, delivery_views, sweeps, webhooks
from orchestrator.services.idempotency import Once
from orchestrator.services.paging import PageRequest
from orchestrator.settings import Settings
from tests.support import engine as engines
from tests.support.engine import Engine
from tests.support.polling import poll
from tests.support.probes import Clock

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
NOOP = {"name": "w", "nodes": [{"id": "only", "type": "noop"}], "edges": []}


@dataclass(slots=True, kw_only=True)
class Hooked:
    """`clock` is the virtual one; deliveries are carried when they are told to be."""

    ours: Engine
    clock: Clock

    def webhook(self, url: str, *events: str, **body: Any) -> dict[str, Any]:
        given = {"url": url, "events": list(events or ("run.completed",)), "description": "", **body}
        return webhooks.create(self.ours.deps, self.ours.actor, given, Once())

    def get(self, webhook: dict[str, Any]) -> dict[str, Any]:
        return webhooks.get(self.ours.deps, self.ours.actor, webhook["id"])

    def change(self, webhook: dict[str, Any], **body: Any) -> dict[str, Any]:
        return webhooks.update(self.ours.deps, self.ours.actor, webhook["id"], body, Once())

    def sweep(self) -> None:
        """What beat fires, once the journal shows all that was written; deliveries wait in `ours.deliveries`."""
        self._is_shown()
        self.ours.send(sweeps.run(self.ours.deps, "webhooks").effects)

    def _is_shown(self) -> None:
        """Transactions of other tests on the same server hold the journal back."""
        if self.ours.deps.db.is_sqlite:
            return
        with self.ours.deps.db.transaction() as session:
            written = session.execute(text("SELECT pg_current_xact_id()::text::bigint")).scalar_one()

        def shown() -> bool:
            with self.ours.deps.db.read() as session:
                return journal.end(session).xid > written

        poll(shown, 30, "the journal's end behind what was written")

    def carry(self) -> int:
        """Send what the sweeps took; how many messages there were."""
        taken, self.ours.deliveries = self.ours.deliveries, []
        for effect in taken:
            delivering.carry(self.ours.deps, effect.delivery_id, effect.attempt)
        return len(taken)

    def pump(self) -> int:
        self.sweep()
        return self.carry()

    def deliveries(self, *statuses: str, webhook: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """The newest first."""
        found: list[dict[str, Any]] = delivery_views.page(
            self.ours.deps,
            self.ours.actor,
            PageRequest(limit=200),
            webhook_id=None if webhook is None else webhook["id"],
            statuses=statuses,
        )["items"]
        return found

    def told(self, type_: str) -> list[Any]:
        """The data of the workspace's events of no run of a type."""
        with self.ours.deps.db.read() as session:
            found = operational.events(session, self.ours.actor.workspace_id)
            return [event.data for event in found if event.type == type_]

    def elsewhere(self) -> "Hooked":
        """The same as an admin of another workspace."""
        settings = self.ours.deps.settings
        other = engines.make(self.ours.deps.db, clock=self.clock, settings=settings)
        return Hooked(ours=other, clock=self.clock)


def hooked(database: Database, *, allow: tuple[str, ...] = ("127.0.0.1",), **settings: Any) -> Hooked:
    """With the workflow `w`, whose runs end at once."""
    clock = Clock()
    given = Settings(http_allow=allow, secret_key="a key for tests alone", **settings)
    ours = engines.make(database, clock=clock, settings=given)
    ours.publish(NOOP)
    found = Hooked(ours=ours, clock=clock)
    found.sweep()  # the subscriber begins at the journal's end
    return found


def pass_time(found: Hooked, wait: float) -> None:
    """Just before the attempt that follows a wait nothing is sent; a little later it is."""
    found.clock.now += wait * (1 - JITTER) - 0.01
    found.pump()
    found.clock.now += 2 * wait * JITTER + 0.02
    found.pump()


def forget_leases(found: Hooked) -> None:
    """All leases ran out long ago."""
    at = 0.0 if found.ours.deps.db.is_sqlite else LONG_AGO
    with found.ours.deps.db.transaction() as session:
        query = "UPDATE webhook_delivery SET lease_until = :at WHERE lease_until IS NOT NULL"
        session.execute(text(query), {"at": at})
