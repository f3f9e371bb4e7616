"""A connection as one attempt uses it: under its deadline, and left when it is given up."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.drivers.openclaw_connection import Call, Connection
from orchestrator.drivers.openclaw_frames import (
    ConnectionLostError,
    GatewayDownError,
    GivenUpError,
    Response,
)
from orchestrator.drivers.openclaw_outcome import is_unavailable

_ANSWER_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """All methods raise TimeoutError at the deadline, GivenUpError and ConnectionLostError."""

    connection: Connection
    deadline: float | None
    cancelled: threading.Event

    def ask(self, method: str, params: Mapping[str, Any], *, wait: float = 0.0) -> Response:
        """The one answer to a request that may take `wait` seconds. Raises GatewayDownError too."""
        with self.connection.call(method, params, self.cancelled) as call:
            return ready(self.first(call, wait=wait))

    def first(self, call: Call, *, wait: float = 0.0) -> Response:
        """The first answer to a call; one that does not come counts as lost and is asked for again."""
        soon = time.monotonic() + wait + _ANSWER_TIMEOUT
        try:
            return call.next(soon if self.deadline is None else min(soon, self.deadline))
        except TimeoutError:
            self.remaining()
            raise ConnectionLostError("the gateway did not answer in time") from None

    def remaining(self, at_most: float = float("inf")) -> float:
        """Seconds until the deadline."""
        if self.deadline is None:
            return at_most
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the step's time is over")
        return min(at_most, left)

    def pause(self, seconds: float) -> None:
        """Wait, within the deadline."""
        pause(seconds, self.deadline, self.cancelled)


def pause(seconds: float, deadline: float | None, cancelled: threading.Event) -> None:
    """Wait `seconds`. Raises TimeoutError when the deadline comes first, GivenUpError when given up."""
    left = seconds if deadline is None else min(seconds, deadline - time.monotonic())
    if cancelled.wait(max(0.0, left)):
        raise GivenUpError("given up")
    if left < seconds:
        raise TimeoutError("the step's time is over")


def ready(answer: Response) -> Response:
    """The answer. Raises GatewayDownError where it says that the gateway starts or drains."""
    fault = answer.fault
    if fault is not None and is_unavailable(fault) and not answer.payload:
        raise GatewayDownError(f"the gateway is not ready: {fault.message}", fault.retry_after or 0.5)
    return answer
