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
    "webhooks",
    "audit",
    "bus",
    "retention",
    "schedules",
)
# Seconds: what reads a whole table, and hurries nobody. services.sweeps says the same.
SELDOM = {"offers": 60.0, "retention": 60.0}


def expires(interval: float) -> float:
    """After how many seconds an entry has waited too long."""
    return max(10.0, 5 * interval)


def schedule(interval: float) -> dict[str, dict[str, Any]]:
    """The entries for sweeps every `interval` seconds, of some more seldom."""
    return {
        f"sweep-{name}": {
            "task": f"orchestrator.sweep.{name}",
            "schedule": max(interval, SELDOM.get(name, interval)),
            "options": {"queue": "sweeps", "expires": expires(interval)},
        }
        for name in SWEEPS
    }
