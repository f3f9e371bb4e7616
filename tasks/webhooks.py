"""Webhooks as a task: it only hands the delivery on, so that slow receivers hold up no queue."""

from tasks import posts
from tasks.app import app


@app.task(name="orchestrator.deliver")
def deliver(delivery_id: str, attempt: int) -> None:
    """Send a delivery; its row stays until it has ended, whatever becomes of this process."""
    posts.begin(delivery_id, attempt)
