"""The sweep of agents: who fell silent, and leases of work that ran out."""

from models.errors import ErrorCode
from models.queries import agents, operational, sweeps
from models.queries import work as queries
from orchestrator.core.effects import Effect
from orchestrator.core.outcome import Failed, StepError
from orchestrator.services import waking
from orchestrator.services.deps import Deps
from orchestrator.services.swept import BATCH, Swept


def agents_and_work(deps: Deps) -> Swept:
    """Agents that fell silent are offline; work whose lease ran out is offered again, or fails."""
    silent = _silent(deps)
    lost = leases(deps)
    return Swept(effects=lost.effects, found=max(silent, lost.found))


def _silent(deps: Deps) -> int:
    """By the database's clock. Those that said `failed` or `stopped` stay so."""
    with deps.db.read() as session:
        before = sweeps.clock(session) - deps.settings.agent_offline_seconds
        if not agents.any_silent(session, before):
            return 0
    with deps.db.transaction() as session:
        gone = agents.lapse(session, before, BATCH)
        about = [(row.workspace_id, {"agent_id": row.id, "name": row.name}) for row in gone]
        operational.note(session, "agent.offline", about)
    return len(gone)


def leases(deps: Deps) -> Swept:
    """Take back what agents went away with; the third loss fails the step, in a run that is being stopped the first."""
    with deps.db.read() as session:
        if not queries.any_over(session):
            return Swept()
    with deps.db.transaction() as session:
        found = len(queries.lapse(session, BATCH))
    with deps.db.read() as session:
        lost = queries.lost(session, BATCH)
    effects: list[Effect] = []
    for piece in lost:
        effects += waking.settle(deps, piece.run_id, piece.no, piece.attempt, _lost())
        with deps.db.transaction() as session:
            queries.end(session, piece)
    return Swept(effects=tuple(effects), found=found)


def offers(deps: Deps) -> Swept:
    """Forget offers whose steps do not wait any more: nobody is given them, so that it does not hurry."""
    with deps.db.read() as session:
        if not queries.any_left(session):
            return Swept()
    with deps.db.transaction() as session:
        return Swept(found=queries.sweep(session, BATCH))


def _lost() -> Failed:
    message = "whoever took this step was not heard of again; it is not offered any more"
    return Failed(error=StepError.of(ErrorCode.WORKER_LOST, message, transient=False))
