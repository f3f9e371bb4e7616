"""What runs and those that they call tell each other, as a task."""

from orchestrator.services import relays
from tasks import parts
from tasks.app import app


@app.task(name="orchestrator.relay")
def relay(outbox_id: int) -> None:
    """Pass on one entry and send what follows from it; its outbox row stays until it is done."""
    own = parts.get()
    own.carrier.send(relays.carry_out(own.deps, outbox_id))
