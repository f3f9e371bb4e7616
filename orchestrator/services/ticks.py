"""One look for all sweeps: which of them have anything to do. The others need not run, and count as run.

An engine that has nothing to do costs one statement of probes a tick, whatever the number of sweeps.
"""

from collections.abc import Collection

from models.queries import probes, stamps
from orchestrator.services import (
    bus_feed,
    contact,
    gateway_sweeps,
    hook_calls,
    idempotency,
    operational,
    webhook_feed,
    webhook_sweeps,
)
from orchestrator.services.deps import Deps
from orchestrator.services.sweeps import BEAT, SWEEPS

# Seconds after which the webhooks' place in the journal moves though nobody listens, so that it is near when one does.
MOVES_SECONDS = 30.0


def due(deps: Deps, names: Collection[str]) -> list[str]:
    """Those of these sweeps that may find something. The others are stamped, and beat is, which asked for them."""
    idle = nothing_for(deps)
    with deps.db.single() as session:
        stamps.put_all(session, [BEAT, *(f"sweep.{name}" for name in names if name in idle)])
    return [name for name in names if name not in idle]


def nothing_for(deps: Deps) -> frozenset[str]:
    """The sweeps that would find nothing now. Those that have no probe are never among them."""
    with deps.db.glance() as session:
        places = probes.places(session)
    with deps.db.glance() as session:
        found = probes.ask(
            session, places, virtual=deps.clock.now(), seen=contact.stale_after(deps), ages=_ages(deps)
        )
    found["leases"] |= found["contact"]
    found["webhooks"] |= _feeds(places, listeners=found["listeners"], news=found["webhooks.news"])
    found["bus"] = deps.settings.bus is not None and (
        bus_feed.NAME not in places.cursors or found["bus.news"]
    )
    return frozenset(name for name in SWEEPS if not found.get(name, True))


def _feeds(places: probes.Places, *, listeners: bool, news: bool) -> bool:
    """Whether the webhooks' place is to be moved: for what they may be told, or to be near the journal's end."""
    if webhook_feed.NAME not in places.cursors:
        return True
    return news and (listeners or places.still[webhook_feed.NAME] > MOVES_SECONDS)


def _ages(deps: Deps) -> dict[str, float]:
    return {
        "answers": idempotency.KEPT.total_seconds(),
        "numbers": hook_calls.KEPT_SECONDS,
        "agents": deps.settings.agent_offline_seconds,
        "gateways": gateway_sweeps.every(deps),
        "events": deps.settings.event_retention_hours * operational.HOUR,
        "chunks": operational.CHUNK_SECONDS,
        "dead": webhook_sweeps.DEAD_KEPT.total_seconds(),
    }
