"""The sweep of gateways: each is asked every few seconds whether it is well."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from models.queries import gateways as queries
from models.queries import sweeps
from orchestrator.services import gateways
from orchestrator.services.deps import Deps
from orchestrator.services.swept import Swept

INTERVALS, SOONEST, LATEST = 5, 1.0, 10.0
AT_ONCE = 16
MOST = 64  # pings of 2 s each, so many at once: a sweep of dead gateways takes 8 s


def pings(deps: Deps) -> Swept:
    """Ask the gateways that are due; whoever takes one asks it alone. No transaction is open meanwhile."""
    with deps.db.read() as session:
        before = sweeps.clock(session) - every(deps)
        if not queries.any_due(session, before):
            return Swept()
    with deps.db.transaction() as session:
        due = queries.take_due(session, before, MOST)
    with ThreadPoolExecutor(min(AT_ONCE, max(1, len(due))), thread_name_prefix="ping") as pool:
        asked = list(pool.map(partial(gateways.ask, deps), due))
    return Swept(effects=tuple(effect for found in asked for effect in found.effects), found=len(due))


def every(deps: Deps) -> float:
    """After how many seconds a gateway is asked again."""
    return min(LATEST, max(SOONEST, INTERVALS * deps.settings.sweep_seconds))
