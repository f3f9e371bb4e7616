"""Ending work that was given up, as a task."""

from orchestrator.services import stops
from tasks import parts
from tasks.app import app


@app.task(name="orchestrator.stop")
def stop(outbox_id: int) -> None:
    """Carry out one stop; its outbox row stays until it is done."""
    stops.carry_out(parts.get().deps, outbox_id)
