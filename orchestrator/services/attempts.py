"""What came of an attempt, as its row keeps it, and what it cost."""

from models.base import dump_json
from models.moves import AttemptResult
from orchestrator.core.outcome import Cancelled, Failed, Outcome, Paused, Succeeded, Usage, Waiting
from orchestrator.services import claiming
from orchestrator.services.claiming import Claimed
from orchestrator.services.deps import Deps
from orchestrator.services.performing import Performed


def result(deps: Deps, claimed: Claimed, done: Performed | None, status: str) -> AttemptResult:
    """An attempt's row after its end; `done` None: nothing came of it."""
    if done is None:
        return AttemptResult(status=status)
    usage = _usage(done.outcome) or Usage()
    error = done.outcome.error if isinstance(done.outcome, Failed) else None
    return AttemptResult(
        status=status,
        output=done.output,
        resolved=done.resolved,
        input_digest=done.input_digest,
        error=None if error is None else dump_json(error.to_json()),
        agent=usage.agent,
        model=usage.model,
        tokens_in=usage.tokens_in,
        tokens_out=usage.tokens_out,
        cost=cost(deps, claimed, done),
    )


def _usage(outcome: Outcome) -> Usage | None:
    return outcome.usage if isinstance(outcome, Succeeded | Failed) else None


def cost(deps: Deps, claimed: Claimed, done: Performed) -> int:
    """What an attempt cost, in micro-cents: what it says, else its estimate if it may have cost anything."""
    usage = _usage(done.outcome)
    if usage is not None and usage.cost_microcents is not None:
        return usage.cost_microcents
    failed_before = isinstance(done.outcome, Failed) and done.outcome.error.code in _FREE
    parked = isinstance(done.outcome, Waiting | Paused | Cancelled)
    if not done.dispatched or failed_before or parked:
        return 0
    return claiming.estimate(deps, claimed.node)


# Failures that come before any work was taken on.
_FREE = frozenset({"AGENT_UNAVAILABLE", "POLICY_DENIED", "UNRESOLVED_REFERENCE", "BUDGET_EXCEEDED"})
