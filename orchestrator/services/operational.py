"""What happened of no run, and what only lives: forgotten after a while."""

from models.event import Chunk, OperationalEvent
from models.queries import operational, sweeps
from models.queries.operational import Table
from orchestrator.services import webhook_sweeps
from orchestrator.services.deps import Deps
from orchestrator.services.swept import Swept

CHUNK_SECONDS = 60.0
HOUR = 3600.0
MOST = 10_000  # streams write more in a second than a batch of steps


def purge(deps: Deps) -> Swept:
    """Forget events of no run after `EVENT_RETENTION_HOURS`, live chunks after a minute, deliveries of webhooks."""
    kept: tuple[tuple[Table, float], ...] = (
        (OperationalEvent, deps.settings.event_retention_hours * HOUR),
        (Chunk, CHUNK_SECONDS),
    )
    found = max(_purge(deps, table, seconds) for table, seconds in kept)
    return Swept(found=max(found, webhook_sweeps.purge(deps)))


def _purge(deps: Deps, table: Table, seconds: float) -> int:
    with deps.db.read() as session:
        before = sweeps.clock(session) - seconds
        if not operational.any_before(session, table, before):
            return 0
    with deps.db.transaction() as session:
        return operational.purge(session, table, before, MOST)
