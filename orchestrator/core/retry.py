"""Whether a failed attempt is followed by another, and when.

Source: spec "engine", Errors have a class; spec "definition", Node.
"""

from collections.abc import Callable
from typing import Any

from models.errors import NEVER_RETRIED, ErrorCode, OrchestratorError
from orchestrator.core.outcome import StepError
from orchestrator.core.plan import Retry

ON_FAILURE = frozenset(
    {
        ErrorCode.TOOL_FAILED,
        ErrorCode.VALIDATION,
        ErrorCode.POLICY_DENIED,
        ErrorCode.CREDIT_EXHAUSTED,
        ErrorCode.OUTPUT_TOO_LARGE,
        ErrorCode.UNRESOLVED_REFERENCE,
    }
)
_POLICIES: dict[str, Callable[[StepError], bool]] = {
    "always": lambda error: True,  # noqa: ARG005
    "on_failure": lambda error: error.code in ON_FAILURE,
    "on_error": lambda error: error.code not in ON_FAILURE,
    "on_transient_error": lambda error: error.transient,
    "never": lambda error: False,  # noqa: ARG005
}


def delay(
    retry: Retry, error: StepError, tries: int, jitter: float, holds: Callable[[str, dict[str, Any]], bool]
) -> float | None:
    """Seconds until the next attempt; None when there is none.

    tries: outcomes so far, this one included. jitter: drawn by the caller, in [0, 1).
    holds: evaluates `retry.condition` over `{"error": …}`; one that cannot be evaluated does not hold.
    """
    if tries >= retry.max_attempts or not _covers(retry, error):
        return None
    if retry.condition is not None and not _holds(retry.condition, error, holds):
        return None
    spread = 1 + retry.jitter * (2 * jitter - 1)
    return max(0.0, min(_backoff(retry, tries) * spread, retry.max))


def _covers(retry: Retry, error: StepError) -> bool:
    if error.code in NEVER_RETRIED or not _POLICIES[retry.policy](error):
        return False
    return (not retry.retry_on or error.code in retry.retry_on) and error.code not in retry.not_on


def _holds(condition: str, error: StepError, holds: Callable[[str, dict[str, Any]], bool]) -> bool:
    try:
        return holds(condition, {"error": error.to_json()})
    except OrchestratorError:
        return False


def _backoff(retry: Retry, tries: int) -> float:
    if retry.backoff == "constant" or retry.initial <= 0:
        found = retry.initial
    elif retry.backoff == "linear":
        found = retry.initial * min(tries, 1 << 53)
    else:
        found = _exponential(retry, tries)
    return min(found, retry.max)


def _exponential(retry: Retry, tries: int) -> float:
    try:
        growth: float = float(retry.multiplier) ** (tries - 1)
        return retry.initial * growth
    except OverflowError:
        return retry.max
