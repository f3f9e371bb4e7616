"""What Celery beat fires: one entry for each sweep. An entry that waited too long is dropped."""

from typing import Any

SWEEPS = ("undispatched", "leases", "timeouts", "due", "stops", "relays", "answers")


def schedule(interval: float) -> dict[str, dict[str, Any]]:
    """The entries for sweeps every `interval` seconds."""
    return {
        f"sweep-{name}": {
            "task": f"orchestrator.sweep.{name}",
            "schedule": interval,
            "options": {"queue": "sweeps", "expires": max(10.0, 5 * interval)},
        }
        for name in SWEEPS
    }
