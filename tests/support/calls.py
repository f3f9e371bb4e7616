"""Workflows that call each other, and the runs that come of it."""

from typing import Any

from sqlalchemy import select, text

from models.database import Database
from models.outbox import Outbox
from models.run import Run
from models.states import RUN_TERMINAL
from orchestrator.services import relays, telling
from orchestrator.settings import Settings
from tests.support import engine
from tests.support.attempts import LONG_AGO
from tests.support.engine import Engine
from tests.support.histories import moment
from tests.support.probes import Clock
from tests.support.soundness import assert_run_sound


def call(node_id: str, workflow: str, **fields: Any) -> dict[str, Any]:
    return {"id": node_id, "type": "subworkflow", "workflow": workflow, **fields}


def made(
    database: Database,
    *definitions: dict[str, Any],
    clock: Clock | None = None,
    settings: Settings | None = None,
) -> Engine:
    """An engine with these workflows; `name` and `nodes` are needed of each."""
    ours = engine.make(database, clock=clock, settings=settings)
    for definition in definitions:
        ours.publish({"edges": [], **definition})
    return ours


def called(ours: Engine, run_id: str) -> list[Run]:
    """The runs that a run has called, by step and attempt."""
    with ours.deps.db.read() as session:
        found = select(Run).where(Run.parent_run_id == run_id)
        return list(session.scalars(found.order_by(Run.parent_step, Run.parent_attempt)))


def child(ours: Engine, run_id: str) -> Run:
    """The one run that a run has called."""
    (found,) = called(ours, run_id)
    return found


def everything(ours: Engine) -> list[Run]:
    """All runs of the engine's workspace, a caller before what it called; in the same order every time."""
    with ours.deps.db.read() as session:
        mine = select(Run).where(Run.workspace_id == ours.actor.workspace_id)
        found = {run.id: run for run in session.scalars(mine)}

    def place(run: Run) -> list[tuple[str, int]]:
        above = found.get(run.parent_run_id or "")
        return [*(place(above) if above else ()), (run.parent_step or "", run.parent_attempt or 0)]

    return sorted(found.values(), key=place)


def unsettled(ours: Engine) -> bool:
    """Whether a run goes on, or has something to tell another."""
    with ours.deps.db.read() as session:
        told = session.execute(select(Outbox.id).where(Outbox.kind.in_(telling.KINDS)).limit(1)).first()
    return told is not None or any(run.status not in RUN_TERMINAL for run in everything(ours))


def pass_on(ours: Engine) -> None:
    """Pass on what runs have to tell each other, and carry no step."""
    while ours.relays:
        ours.send(relays.carry_out(ours.deps, ours.relays.pop(0).outbox_id))


def lose_relays(ours: Engine) -> None:
    """What was to be passed on is lost, and long due."""
    ours.relays.clear()
    with ours.deps.db.transaction() as session:
        session.execute(text("UPDATE outbox SET due_at = :at"), {"at": moment(ours, LONG_AGO)})


def sound(ours: Engine) -> None:
    """No invariant of any run is broken, and nothing is left to be told."""
    for run in everything(ours):
        assert_run_sound(ours.deps, run.id)
    assert ours.relays == []
