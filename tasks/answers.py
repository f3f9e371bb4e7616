"""What the end of a foreign task calls: it only says `look`; the answer is in the result backend."""

import structlog

from orchestrator.services import looking
from tasks import parts
from tasks.app import app

_log = structlog.get_logger(__name__)


@app.task(name="orchestrator.answered")
def answered(run_id: str, no: int, attempt: int) -> None:
    """Look for the answer to a parked attempt. Nothing is raised into Celery: a sweep looks again."""
    own = parts.get()
    try:
        own.carrier.send(looking.woken(own.deps, run_id, no, attempt))
    except Exception:
        _log.exception("answer not taken", run=run_id, step=no, attempt=attempt)
