"""The completion of an attempt whose fence rose meanwhile: it moves nothing, but what it cost and did is kept.

Work that it sent to a gateway after the step was given up would go on there unseen, so it is stopped.
"""

from collections.abc import Sequence

import structlog
from sqlalchemy.orm import Session

from models.queries import routing, runs, steps
from models.states import RUN_TERMINAL, STEP_TERMINAL
from orchestrator.core.effects import Effect
from orchestrator.core.outcome import Cancelled, Outcome, Succeeded, Waiting
from orchestrator.services import attempts, late_successes, stopping, telling
from orchestrator.services.claiming import Claimed
from orchestrator.services.deps import Deps
from orchestrator.services.performing import Performed

_log = structlog.get_logger(__name__)


def record(
    deps: Deps, session: Session, claimed: Claimed, done: Performed | None, *, pays: bool
) -> Sequence[Effect]:
    """Record the attempt and what it cost; `pays`: the run's budget does. done None: it has no outcome."""
    _log.warning("attempt fenced out", run=claimed.info.id, step=claimed.path, attempt=claimed.attempt)
    if done is None:
        return ()
    if _goes_on(session, claimed, done.outcome):
        return _stop(session, claimed)
    if isinstance(done.outcome, Cancelled):
        return ()
    return _ended(deps, session, claimed, done, pays)


def _goes_on(session: Session, claimed: Claimed, outcome: Outcome) -> bool:
    """Whether what the attempt sent to a gateway goes on there."""
    if not claimed.node.slow or not isinstance(outcome, Waiting | Cancelled):
        return False
    return routing.assigned(session, claimed.info.id, claimed.no, claimed.attempt) is not None


def _stop(session: Session, claimed: Claimed) -> tuple[Effect, ...]:
    """The stop that came with the abort may have been carried out before the work was there.

    A step that is open again follows what was lost or aborted: that is left to its next attempt.
    """
    runs.lock(session, claimed.info.id)
    (row,) = steps.hot(session, claimed.info.id, [claimed.no])
    followed = routing.is_followed(session, claimed.info.id, claimed.no, claimed.attempt)
    if followed and row.status not in STEP_TERMINAL:
        return ()
    return stopping.end_work(session, claimed.info.id, row, (claimed.attempt,))


def _ended(deps: Deps, session: Session, claimed: Claimed, done: Performed, pays: bool) -> Sequence[Effect]:
    state = runs.lock(session, claimed.info.id)
    result = attempts.result(deps, claimed, done, "fenced")
    values = {
        "status": "fenced",
        "agent": result.agent,
        "model": result.model,
        "tokens_in": result.tokens_in,
        "tokens_out": result.tokens_out,
        "output": done.outcome.output if isinstance(done.outcome, Succeeded) else None,
    }
    extra = result.cost - steps.attempt_cost(session, claimed.info.id, claimed.no, claimed.attempt)
    values["cost_microcents"] = result.cost
    undo = late_successes.is_to_be_undone(session, claimed, done.outcome)
    if not steps.record_late(session, claimed.info.id, claimed.no, claimed.attempt, values, failed=undo):
        return ()
    runs.add_cost(session, claimed.info.id, extra)
    if pays:
        runs.settle(session, claimed.info.budget_id, 0, extra)
    if state is None:
        return ()
    over = state.status in RUN_TERMINAL
    if undo or not over:
        told = {"step": claimed.path, "attempt": claimed.attempt} | ({"undo": True} if undo else {})
        runs.note(session, claimed.info.id, "step.fenced", told)
    effects = late_successes.undo(deps, session, claimed, state) if undo else []
    return (*effects, *(telling.ended(session, claimed.info) if over and extra else ()))
