"""What Celery beat fires: one entry for each sweep. An entry that waited too long is dropped."""

from typing import Any

SWEEPS = (
    "undispatched",
    "leases",
    "timeouts",
    "due",
    "stops",
    "relays",
    "answers",
    "unserved",
    "agents",
    "offers",
    "gateways",
    "operational",
)
# Seconds: what reads a whole table, and hurries nobody. services.sweeps says the same.
SELDOM = {"offers": 60.0}


def schedule(interval: float) -> dict[str, dict[str, Any]]:
    """The entries for sweeps every `interval` seconds, of some more seldom."""
    return {
        f"sweep-{name}": {
            "task": f"orchestrator.sweep.{name}",
            "schedule": max(interval, SELDOM.get(name, interval)),
            "options": {"queue": "sweeps", "expires": max(10.0, 5 * interval)},
        }
        for name in SWEEPS
    }
