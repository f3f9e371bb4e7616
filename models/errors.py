"""The exception tree, a code per class, and the classes that a failed step is put in.

Source: spec "engine", Errors have a class; spec "http-api" for the codes that a caller sees.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class ErrorCode(StrEnum):
    """Why a step failed."""

    TIMEOUT = "TIMEOUT"
    NETWORK = "NETWORK"
    FILE_IO = "FILE_IO"
    CREDIT_EXHAUSTED = "CREDIT_EXHAUSTED"
    LLM_DOWN = "LLM_DOWN"
    TOOL_FAILED = "TOOL_FAILED"
    VALIDATION = "VALIDATION"
    POLICY_DENIED = "POLICY_DENIED"
    BUDGET_EXCEEDED = "BUDGET_EXCEEDED"
    AGENT_UNAVAILABLE = "AGENT_UNAVAILABLE"
    WORKER_LOST = "WORKER_LOST"
    UNRESOLVED_REFERENCE = "UNRESOLVED_REFERENCE"
    OUTPUT_TOO_LARGE = "OUTPUT_TOO_LARGE"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    LOOP_LIMIT = "LOOP_LIMIT"
    INTERNAL = "INTERNAL"


TRANSIENT = frozenset(
    {
        ErrorCode.TIMEOUT,
        ErrorCode.NETWORK,
        ErrorCode.FILE_IO,
        ErrorCode.LLM_DOWN,
        ErrorCode.AGENT_UNAVAILABLE,
        ErrorCode.WORKER_LOST,
    }
)
NEVER_RETRIED = frozenset(
    {
        ErrorCode.REJECTED,
        ErrorCode.EXPIRED,
        ErrorCode.LOOP_LIMIT,
        ErrorCode.CANCELLED,
        ErrorCode.BUDGET_EXCEEDED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in a document: where (JSON pointer, 1-based YAML line), which (stable code), how to mend it."""

    pointer: str
    code: str
    message: str
    line: int | None = None


class OrchestratorError(Exception):
    """Root of everything this project raises on purpose; `code` is stable, the message says how to mend it."""

    code = "INTERNAL"


class NotFoundError(OrchestratorError):
    """No such thing, or not in the caller's workspace."""

    code = "NOT_FOUND"


class ConflictError(OrchestratorError):
    """The thing is in a state in which this makes no sense, or the name is taken."""

    code = "CONFLICT"


class InvalidError(OrchestratorError):
    """The input is refused whole; nothing was stored. Every problem is in `problems`."""

    code = "INVALID"

    def __init__(self, message: str, problems: Sequence[Problem] = (), code: str | None = None) -> None:
        super().__init__(message)
        self.problems = tuple(problems)
        if code is not None:
            self.code = code


class BudgetExceededError(InvalidError):
    """The estimate is above the budget."""

    code = "BUDGET_EXCEEDED"


class UnauthorizedError(OrchestratorError):
    """No key, or one that is unknown or revoked."""

    code = "UNAUTHORIZED"


class ForbiddenError(OrchestratorError):
    """The key lacks the scope."""

    code = "FORBIDDEN"


class RateLimitedError(OrchestratorError):
    """Too many requests; `retry_after` seconds until the next is taken."""

    code = "RATE_LIMITED"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnavailableError(OrchestratorError):
    """A part that is needed does not answer; `retry_after` seconds until it is worth another try."""

    code = "UNAVAILABLE"

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SettingsError(OrchestratorError):
    """A setting is unknown, malformed or contradictory."""

    code = "SETTINGS"
