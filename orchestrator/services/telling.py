"""What a run has to tell the runs that it calls, and the one that called it: outbox rows and their effects.

No transaction locks two runs: each of these is noted with what it tells of, and carried out in a transaction of
the run that it is for (services.relays).
"""

from typing import Any

from sqlalchemy.orm import Session

from models.queries import outbox, sweeps
from models.queries.runs import RunInfo
from orchestrator.core.effects import Relay
from orchestrator.core.outcome import Call
from orchestrator.core.plan import Plan

CALL, RECALL, ALIGN, ENDED, SPENT, PROVISION, UNDO = KINDS = (
    "call",
    "recall",
    "align",
    "ended",
    "spent",
    "provision",
    "undo",
)
UNWRITTEN = "AGENT_UNAVAILABLE: the files of the run's agents are not written yet"


def call(session: Session, run_id: str, no: int, attempt: int, wanted: Call) -> Relay:
    """A parked attempt waits for a run that is to be created."""
    return _note(session, CALL, run_id, no, attempt, wanted.to_json())


def recall(
    session: Session,
    run_id: str,
    no: int,
    attempt: int,
    *,
    spare_running: bool = False,
    compensate: bool = True,
) -> Relay:
    """Nobody waits for what an attempt has called: that run is aborted.

    spare_running: what runs may end; compensate: what it has done is undone.
    """
    told = {"spare_running": spare_running, "compensate": compensate}
    return _note(session, RECALL, run_id, no, attempt, told)


def align(session: Session, plan: Plan, run_id: str) -> list[Relay]:
    """A run was paused or resumed; so are the runs that it calls."""
    return [_note(session, ALIGN, run_id)] if plan.calls else []


def started(session: Session, info: RunInfo) -> list[Relay]:
    """A called run starts that had to wait: where its caller is paused meanwhile, it is to be, too."""
    caller = None if info.detached else info.parent_run_id
    return [] if caller is None else [_note(session, ALIGN, caller)]


def ended(session: Session, info: RunInfo) -> list[Relay]:
    """A run has ended, or cost something after its end: the step that called it is to know."""
    called = info.parent_run_id is not None and not info.detached
    return [_note(session, ENDED, info.id)] if called else []


def created(session: Session, run_id: str) -> Relay:
    """A run that nobody waits for is there: the step that called it is done."""
    return _note(session, ENDED, run_id)


def spent(session: Session, info: RunInfo) -> list[Relay]:
    """The budget that a called run draws on is spent: the run that holds it is stopped or paused."""
    return [_note(session, SPENT, info.budget_id)] if info.budget_id != info.id else []


def undo(session: Session, run_id: str, no: int, attempt: int) -> Relay:
    """A parked compensation waits for the run that its owner called to undo itself."""
    return _note(session, UNDO, run_id, no, attempt)


def provision(session: Session, run_id: str) -> Relay:
    """The files of the agents that a run names are to be written before it works with any of them."""
    return _note(session, PROVISION, run_id)


def _note(session: Session, kind: str, run_id: str, no: int = 0, attempt: int = 0, data: Any = None) -> Relay:
    now = sweeps.clock(session)
    return Relay(outbox_id=outbox.add(session, kind, run_id, no, attempt, data or {}, now))
