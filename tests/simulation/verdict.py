"""What a seed is judged by: the run ended, as its definition says, and no invariant is broken."""

from collections.abc import Iterator

from sqlalchemy import select

from models.event import Event
from models.run import Run
from models.states import RUN_TERMINAL
from orchestrator.services import fsck
from tests.simulation.ground import Ground
from tests.simulation.world import Parts, World
from tests.support.calls import everything

_DECIDED_BY_CHANCE = {"WORKER_LOST", "TIMEOUT"}


def judge(ground: Ground, seed: int, parts: Parts | None = None) -> list[str]:
    """Everything that is wrong with a seed; empty when nothing is."""
    return of(World(ground, seed, parts))


def of(world: World) -> list[str]:
    """Everything that is wrong with a world that lives from here to its end."""
    return list(_faults_of(world, world.run()))


def _faults_of(world: World, run_id: str) -> Iterator[str]:
    yield from world.wrong
    run = world.engine.row(run_id)
    if run.status not in RUN_TERMINAL:
        open_ = world.engine.statuses(run_id)
        yield f"the run is {run.status} (stopping: {run.stopping}) after all was healed: {open_}"
        return
    for each in everything(world.engine):
        yield from _faults_of_one(world, each)
    events = _events(world, run_id)
    if not _by_chance(events):
        yield from _as_defined(world, run_id)


def _faults_of_one(world: World, run: Run) -> Iterator[str]:
    if run.status not in RUN_TERMINAL:
        yield f"run {run.id}, which step {run.parent_step} called, is {run.status} after all was healed"
    for found in fsck.check(world.engine.deps, run.id):
        yield f"invariant {found.invariant}: {found.step}: {found.message}"
    yield from _started_while_paused(_events(world, run.id))


def _events(world: World, run_id: str) -> list[Event]:
    with world.engine.deps.db.read() as session:
        return list(session.scalars(select(Event).where(Event.run_id == run_id).order_by(Event.seq)))


def _started_while_paused(events: list[Event]) -> Iterator[str]:
    paused = False
    for event in events:
        if event.type in ("run.paused", "run.resumed", "run.compensating"):
            paused = event.type == "run.paused"
        elif paused and event.type == "step.started":
            yield f"{event.step} started at event {event.seq}, while the run was paused"


def _by_chance(events: list[Event]) -> bool:
    """Whether something else than the definition decided how a step ended."""
    return any(
        event.type in ("run.budget_exceeded", "run.aborted")
        or (event.data.get("error") or {}).get("code") in _DECIDED_BY_CHANCE
        for event in events
    )


def _as_defined(world: World, run_id: str) -> Iterator[str]:
    reference, definition = world.workflow.reference, world.workflow.definition
    run, found = world.engine.row(run_id), world.engine.statuses(run_id)
    unhandled = reference.unhandled()
    undone = any(path.endswith(":compensate") for path in found)
    expected = ("compensated" if undone else "failed") if unhandled else "success"
    if run.status != expected:
        yield f"the run is {run.status}, it had to be {expected}"
    elif not unhandled or definition["on_failure"] == "continue":
        for name, status in reference.statuses.items():
            if ("success" if found[name] == "compensated" else found[name]) != status:
                yield f"{name} is {found[name]}, it had to be {status}"
