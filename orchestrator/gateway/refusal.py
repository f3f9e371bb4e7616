"""What the gateway answers when it says no. Source: spec "gateway" §2, error codes."""

from collections.abc import Mapping
from typing import Any

from models.errors import OrchestratorError


class RefusalError(OrchestratorError):
    """An error frame: `code`, message and what goes with them. `close`: the code that ends the socket after it."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        retry_after_ms: int | None = None,
        close: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.details = details
        self.retry_after_ms = retry_after_ms
        self.close = close

    def to_json(self) -> dict[str, Any]:
        """The `error` of a response frame."""
        found: dict[str, Any] = {"code": self.code, "message": str(self)}
        if self.details is not None:
            found["details"] = dict(self.details)
        if self.retry_after_ms is not None:
            found |= {"retryable": True, "retryAfterMs": self.retry_after_ms}
        return found


def invalid(message: str, **details: Any) -> RefusalError:
    return RefusalError("INVALID_REQUEST", message, details=details or None)


def missing_scope(scope: str | None) -> RefusalError:
    return RefusalError(
        "FORBIDDEN",
        f"missing scope: {scope}",
        details={"code": "MISSING_SCOPE", "missingScope": scope, "requiredScopes": [scope]},
    )


def starting() -> RefusalError:
    return RefusalError(
        "UNAVAILABLE",
        "gateway starting",
        details={"reason": "startup-sidecars"},
        retry_after_ms=500,
        close=1013,
    )


def restarting() -> RefusalError:
    return RefusalError(
        "UNAVAILABLE", "gateway restarting", details={"reason": "gateway-restarting"}, retry_after_ms=500
    )
