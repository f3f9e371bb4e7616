"""Offers of work that have to go elsewhere, since their agent left or is reached another way."""

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from models.queries import steps, work
from models.queries.work import Piece
from orchestrator.core.effects import Effect, Message, Resume
from orchestrator.services.deps import Deps


def recall(session: Session, deps: Deps, agent_id: str) -> tuple[Effect, ...]:
    """Withdraw what is offered to an agent and not begun: its steps are routed anew."""
    work.lock(session, agent_id)
    return tuple(_rerouted(session, deps, work.recall(session, agent_id, claimed=False)))


def leave(session: Session, deps: Deps, agent_id: str) -> tuple[Effect, ...]:
    """An agent leaves: what it did for its role is offered again, what was its own is routed anew."""
    work.lock(session, agent_id)
    work.give_up(session, agent_id)
    return tuple(_rerouted(session, deps, work.recall(session, agent_id, claimed=True)))


def _rerouted(session: Session, deps: Deps, pieces: Iterable[Piece]) -> Iterable[Effect]:
    """Steps go on without their offers. A message that is lost is made good by the sweep of what is due."""
    now = datetime.fromtimestamp(deps.clock.now(), UTC)
    for piece in pieces:
        work.wake(session, piece, now)
        for row in steps.hot(session, piece.run_id, [piece.no]):
            yield Resume(
                message=Message(
                    run_id=piece.run_id, no=piece.no, path=row.path, attempt=piece.attempt, queue=row.queue
                )
            )
