"""Whether the parts of the installation are there, as far as the database tells, and how much is open."""

from dataclasses import dataclass

from models.queries import gauges, held_places, stamps, sweeps
from orchestrator.services import bus_feed
from orchestrator.services.deps import Deps
from orchestrator.services.sweeps import BEAT, SWEEPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """What is open: runs by status, queued steps by queue."""

    runs: dict[str, int]
    queued: dict[str, int]


def missing(deps: Deps) -> list[str]:
    """Which of `workers` and `beat` have not shown themselves for five sweeps, or 10 s where that is more; and `bus`,
    where it did not answer the last time that it was given something.

    Workers run the sweeps, on beat's word or, when that is missing, on their own.
    """
    patience = max(10.0, 5 * deps.settings.sweep_seconds)
    names = {"workers": [f"sweep.{name}" for name in SWEEPS], "beat": [BEAT]}
    with deps.db.read() as session:
        now = sweeps.clock(session)
        last = stamps.last(session, [stamp for known in names.values() for stamp in known])
        away = deps.settings.bus is not None and held_places.error(session, bus_feed.NAME) is not None
    silent = [
        part
        for part, known in names.items()
        if now - max((last.get(stamp, 0.0) for stamp in known), default=0.0) > patience
    ]
    return [*silent, "bus"] if away else silent


def measure(deps: Deps) -> Gauges:
    """What is open now."""
    with deps.db.read() as session:
        return Gauges(
            runs=dict(gauges.open_runs(session)),
            queued=dict(gauges.queued_steps(session)),
        )
