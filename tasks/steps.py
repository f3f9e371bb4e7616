"""The tasks that carry steps. Their arguments say `look at this step`; the database decides."""

from typing import Any

import structlog

from orchestrator.core.effects import Message
from orchestrator.services import looking
from tasks import parts
from tasks.app import app

_log = structlog.get_logger(__name__)


@app.task(name="orchestrator.step", bind=True)
def step(self: Any, run_id: str, path: str, no: int, attempt: int) -> None:
    """Do a step if it is still to be done."""
    _carry(Message(run_id=run_id, no=no, path=path, attempt=attempt), self.request.chord is not None)


@app.task(name="orchestrator.steps")
def steps(run_id: str, looks: list[tuple[str, int, int]]) -> None:
    """Do cheap steps of one run, `[path, number, attempt]` each, that are still to be done."""
    try:
        parts.get().carrier.carry_all(
            [Message(run_id=run_id, no=no, path=path, attempt=attempt) for path, no, attempt in looks]
        )
    except Exception:
        _log.exception("steps not carried", run=run_id, steps=len(looks))


@app.task(name="orchestrator.advance")
def advance(run_id: str, path: str, no: int, attempt: int) -> None:
    """The completion callback, a chord's body: carry on the join that its members decided."""
    _carry(Message(run_id=run_id, no=no, path=path, attempt=attempt), False)


@app.task(name="orchestrator.resume")
def resume(run_id: str, path: str, no: int, attempt: int) -> None:
    """Go on with a parked step, if it still waits. Nothing is raised into Celery: the step is due again."""
    message = Message(run_id=run_id, no=no, path=path, attempt=attempt)
    try:
        parts.get().carrier.resume(message)
    except Exception:
        _log.exception("step not resumed", run=run_id, step=path, attempt=attempt)


@app.task(name="orchestrator.look")
def look(run_id: str, path: str, no: int, attempt: int) -> None:
    """Ask for the answer to a parked attempt. Nothing is raised into Celery: the sweep comes again."""
    own = parts.get()
    try:
        own.carrier.send(looking.look(own.deps, run_id, no, attempt, None))
    except Exception:
        _log.exception("answer not looked for", run=run_id, step=path, attempt=attempt)


def _carry(message: Message, in_chord: bool) -> None:
    """Nothing is raised into Celery: what the database could not take, the lease sweep makes good."""
    try:
        parts.get().carrier.carry(message, in_chord=in_chord)
    except Exception:
        _log.exception("step not carried", run=message.run_id, step=message.path, attempt=message.attempt)
