"""One attempt at a gateway: sent once, followed over lost sockets and restarts, never sent blindly again.

Source: spec "gateway" §4, Running a step, and Idempotency and recovery.
"""

import math
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import structlog

from models.errors import ErrorCode, OrchestratorError, UnavailableError
from orchestrator.core.outcome import Cancelled, Failed, Outcome, Succeeded
from orchestrator.drivers.openclaw_connection import Connection
from orchestrator.drivers.openclaw_fate import Target, from_transcript, look_up, wait_for_end
from orchestrator.drivers.openclaw_frames import (
    ConnectionLostError,
    GatewayDownError,
    GatewayRefusedError,
    GivenUpError,
    Response,
)
from orchestrator.drivers.openclaw_line import Line, pause, ready
from orchestrator.drivers.openclaw_outcome import failed, outcome
from orchestrator.drivers.openclaw_pool import Pool
from orchestrator.drivers.openclaw_prompt import prompt
from orchestrator.ports import Dispatch

_WITHOUT_TIMEOUT = 24 * 3600  # the gateway's own limit for a step that has none
_WAIT = 25.0
_LOSSES_AT_MOST = 8
_CALM = 60.0
_ABORT_TIMEOUT = 5.0
_RESENDS = 6

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Attempt:
    """Runs one Dispatch to its outcome."""

    def __init__(self, pool: Pool, request: Dispatch) -> None:
        self._pool = pool
        self._request = request
        self._own = Target(
            agent=request.agent, session_key=request.session_key, run_id=request.idempotency_key
        )
        self._target = self._own
        self._sent_to: str | None = None  # the boot of the gateway that may have our key
        self._losses = 0
        self._lost_at = 0.0
        self._down_since: float | None = None

    def run(self) -> Outcome:
        """The outcome, or what stood in its way as a failure."""
        try:
            return self._earlier() or self._steadily(self._once)
        except GivenUpError:
            self._abort()
            return Cancelled()
        except TimeoutError:
            self._abort()
            return failed(ErrorCode.TIMEOUT, "the agent did not answer within the step's time")
        except GatewayRefusedError as error:
            return failed(ErrorCode.AGENT_UNAVAILABLE, str(error), transient=False)
        except (UnavailableError, ConnectionLostError) as error:
            return self._without_gateway(error)

    def _without_gateway(self, error: OrchestratorError) -> Outcome:
        if self._sent_to is None:
            return failed(ErrorCode.AGENT_UNAVAILABLE, str(error))
        return failed(
            ErrorCode.NETWORK,
            f"the gateway was lost after the work was sent, so its fate is unknown: {error}",
            details={"fate": "unknown"},
        )

    def _earlier(self) -> Outcome | None:
        """The success of an attempt whose process died, when it was sent and ended well."""
        for earlier in self._request.earlier:
            self._target = Target(
                agent=self._request.agent,
                session_key=earlier.session_key,
                run_id=earlier.idempotency_key,
            )
            found = self._steadily(lambda line: look_up(line, self._target))
            if isinstance(found, Succeeded):
                return found
        self._target = self._own
        return None

    def _steadily(self, reach: Callable[[Line], T]) -> T:
        """What `reach` gives, over as many connections as it takes."""
        deadline, cancelled = self._request.deadline, self._request.cancelled
        while True:
            connection = self._pool.connection(deadline, cancelled)
            try:
                return reach(Line(connection=connection, deadline=deadline, cancelled=cancelled))
            except ConnectionLostError as error:
                self._count_loss(error)
            except GatewayDownError as error:
                self._count_down(error)

    def _once(self, line: Line) -> Outcome:
        """Over one connection: send, unless a gateway that restarted since may know the run already."""
        if self._sent_to is not None and self._sent_to != line.connection.boot_id:
            found = look_up(line, self._own)
            if found is not None:
                return found
        return self._exchange(line)

    def _exchange(self, line: Line) -> Outcome:
        """Send the key: the first time to start the run, after a loss to find it again."""
        ended = 0
        while ended < _RESENDS:
            answer = self._send(line)
            if answer.status != "in_flight":
                return self._read(answer)
            ended += wait_for_end(line, self._own.run_id, _WAIT)
            line.pause(0.05 * ended)  # right after its end a key may still be called in flight
        return from_transcript(line, self._own)

    def _read(self, answer: Response) -> Outcome:
        found = outcome(self._request.agent, answer)
        if answer.fault is None and isinstance(found, Failed) and found.error.code is ErrorCode.VALIDATION:
            self._abort()  # a frame that makes no sense says nothing of the run
        return found

    def _send(self, line: Line) -> Response:
        with line.connection.call("agent", self._params(line), self._request.cancelled) as call:
            self._sent_to = line.connection.boot_id
            try:
                answer = ready(line.first(call))
            except GatewayDownError:
                if self._losses == 0:
                    self._sent_to = None  # it said no, so nothing was begun
                raise
            return answer if answer.status != "accepted" else call.next(self._request.deadline)

    def _params(self, line: Line) -> dict[str, Any]:
        return {
            "message": prompt(self._request),
            "agentId": self._request.agent,
            "sessionKey": self._request.session_key,
            "idempotencyKey": self._request.idempotency_key,
            "timeout": math.ceil(line.remaining(_WITHOUT_TIMEOUT)),
        }

    def _count_loss(self, error: ConnectionLostError) -> None:
        now = time.monotonic()
        self._losses = self._losses + 1 if now - self._lost_at < _CALM else 1
        self._lost_at = now
        log.info("gateway lost, looking for the run", run=self._target.run_id, losses=self._losses)
        if self._losses >= _LOSSES_AT_MOST:
            raise error
        self._pause(0.01 * 2**self._losses)

    def _count_down(self, error: GatewayDownError) -> None:
        now = time.monotonic()
        if self._down_since is None or now - self._down_since > 2 * self._pool.patience:
            self._down_since = now
        if now - self._down_since > self._pool.patience:
            raise error
        self._pause(error.retry_after)

    def _pause(self, seconds: float) -> None:
        pause(seconds, self._request.deadline, self._request.cancelled)

    def _abort(self) -> None:
        """Tell the gateway to end the run, when that costs no wait; its own time limit ends it otherwise."""
        connection = self._pool.open_connection()
        if connection is None or (self._sent_to is None and self._target is self._own):
            return
        try:
            abort(connection, self._target.session_key, self._target.run_id)
        except (ConnectionLostError, TimeoutError) as error:
            log.warning("agent run not aborted", run=self._target.run_id, reason=str(error))


def abort(connection: Connection, session_key: str, run_id: str) -> Response:
    """End a run. Raises ConnectionLostError, TimeoutError."""
    return connection.request(
        "sessions.abort", {"key": session_key, "runId": run_id}, threading.Event(), timeout=_ABORT_TIMEOUT
    )
