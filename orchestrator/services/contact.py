"""Whether the sweeps have been in contact with the database for long enough to take silence for a loss.

Nothing expires within one lease of the first contact after the database was away (spec "engine", Leases).
"""

from collections.abc import Mapping

from models.queries import stamps
from orchestrator.services.deps import Deps

STAMPS = ("leases.seen", "leases.contact")


def _silence(deps: Deps) -> float:
    """After how many seconds without a sweep the database counts as having been away.

    Workers that sweep themselves come every three to four intervals, and later where they are busy.
    """
    return max(deps.settings.lease_seconds, 6 * deps.settings.sweep_seconds)


def stale_after(deps: Deps) -> float:
    """After how many seconds the contact is to be noted again: often enough to be no silence."""
    return _silence(deps) / 5


def lasts(deps: Deps, now: float, last: Mapping[str, float]) -> bool:
    since = now - last.get("leases.contact", now)
    return now - last.get("leases.seen", 0) <= _silence(deps) and since >= deps.settings.lease_seconds


def note(deps: Deps, now: float) -> None:
    with deps.db.transaction() as session:
        seen = stamps.last(session, STAMPS).get("leases.seen")
        if seen is None or now - seen > _silence(deps):
            stamps.put(session, "leases.contact", now)
        stamps.put(session, "leases.seen", now)
