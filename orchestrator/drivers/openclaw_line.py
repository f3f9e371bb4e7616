"""A connection as one attempt uses it: under its deadline and patience, and left when it is given up."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.drivers.openclaw_call import Call
from orchestrator.drivers.openclaw_connection import Connection
from orchestrator.drivers.openclaw_frames import (
    ConnectionLostError,
    GatewayDownError,
    GivenUpError,
    Response,
)
from orchestrator.drivers.openclaw_outcome import is_unavailable, never_began

_ANSWER_TIMEOUT = 30.0


@dataclass(slots=True, kw_only=True)
class Term:
    """How long a caller waits. deadline: of time.monotonic(). patience: seconds from `begin` on, None: no end."""

    deadline: float | None
    cancelled: threading.Event | None = None
    patience: float | None = None
    ends: float | None = None

    def begin(self) -> None:
        """The gateway has the work: from here on the patience counts."""
        if self.patience is not None and self.ends is None:
            self.ends = time.monotonic() + self.patience

    @property
    def limit(self) -> float | None:
        """When the wait ends, of time.monotonic()."""
        if self.deadline is None or self.ends is None:
            return self.ends if self.deadline is None else self.deadline
        return min(self.deadline, self.ends)

    @property
    def patience_is_over(self) -> bool:
        """Whether the wait ended before the deadline."""
        now = time.monotonic()
        late = self.deadline is not None and now >= self.deadline
        return self.ends is not None and now >= self.ends and not late

    def remaining(self, at_most: float = float("inf")) -> float:
        """Seconds left. Raises TimeoutError when there are none."""
        limit = self.limit
        if limit is None:
            return at_most
        left = limit - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time is over")
        return min(at_most, left)

    def pause(self, seconds: float) -> None:
        """Wait. Raises TimeoutError when the limit comes first, GivenUpError when given up."""
        left = max(0.0, min(seconds, self.remaining()))
        if self.cancelled is None:
            time.sleep(left)
        elif self.cancelled.wait(left):
            raise GivenUpError("given up")
        if left < seconds:
            raise TimeoutError("the time is over")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """All methods raise TimeoutError at the term's limit, GivenUpError and ConnectionLostError."""

    connection: Connection
    term: Term
    answer_within: float = _ANSWER_TIMEOUT

    def ask(self, method: str, params: Mapping[str, Any], *, wait: float = 0.0) -> Response:
        """The one answer to a request that may take `wait` seconds. Raises GatewayDownError too."""
        with self.connection.call(method, params, self.term.cancelled) as call:
            return ready(self.first(call, wait=wait))

    def first(self, call: Call, *, wait: float = 0.0) -> Response:
        """The first answer to a call; one that does not come counts as lost and is asked for again."""
        soon = time.monotonic() + wait + self.answer_within
        limit = self.term.limit
        try:
            return call.next(soon if limit is None else min(soon, limit))
        except TimeoutError:
            self.term.remaining()
            raise ConnectionLostError("the gateway did not answer in time") from None


def ready(answer: Response) -> Response:
    """The answer. Raises GatewayDownError where it says that the gateway starts or drains, and nothing was done."""
    fault = answer.fault
    if fault is None:
        return answer
    if never_began(fault.message) or (is_unavailable(fault) and not answer.payload):
        raise GatewayDownError(f"the gateway is not ready: {fault.message}", fault.retry_after or 0.5)
    return answer
