"""The bridge to an OpenClaw gateway over WebSocket, protocol 4.

Source: spec "gateway". The parts: `_frames` what is said, `_handshake` how it begins, `_connection` one
socket for many threads, `_pool` the sockets of a process, `_line` a socket under an attempt's deadline,
`_attempt` one run from sending to outcome, `_fate` a run that was lost sight of, `_outcome` and `_prompt` the
words on both sides.
"""

import threading
import time
from collections.abc import Callable

import structlog

from models.errors import ErrorCode, UnavailableError
from orchestrator.core.outcome import Outcome
from orchestrator.drivers.openclaw_attempt import Attempt, abort
from orchestrator.drivers.openclaw_frames import ConnectionLostError
from orchestrator.drivers.openclaw_handshake import Address
from orchestrator.drivers.openclaw_outcome import failed
from orchestrator.drivers.openclaw_pool import Pool
from orchestrator.ports import Dispatch

_STOP_TIMEOUT = 5.0

log = structlog.get_logger(__name__)


class OpenClawGateway:
    """Implements orchestrator.ports.Gateway; one per process, for any number of threads.

    address: asked before each connection. most: connections at once. idle: seconds after which an unused one
    closes. patience: seconds that a step waits for a gateway that is away.
    """

    def __init__(
        self,
        address: Callable[[], Address],
        *,
        most: int = 3,
        idle: float = 60.0,
        patience: float = 30.0,
    ) -> None:
        self._pool = Pool(address, most=most, idle=idle, patience=patience)

    def dispatch(self, request: Dispatch) -> Outcome:
        """Run one attempt to its end; never raises."""
        try:
            return Attempt(self._pool, request).run()
        except Exception as error:  # the port promises an outcome
            log.exception("gateway driver failed", run=request.idempotency_key)
            return failed(ErrorCode.INTERNAL, f"the gateway driver failed: {type(error).__name__}: {error}")

    def stop(self, session_key: str, idempotency_key: str) -> None:
        """End the work of an attempt; an attempt that is over already is fine.

        Raises UnavailableError and GatewayRefusedError when the gateway can't be told.
        """
        connection = self._pool.connection(time.monotonic() + _STOP_TIMEOUT, threading.Event())
        try:
            answer = abort(connection, session_key, idempotency_key)
        except (ConnectionLostError, TimeoutError) as error:
            raise UnavailableError(f"the gateway was not told to stop {idempotency_key}: {error}") from error
        if not answer.ok:
            said = answer.fault.message if answer.fault else "no reason given"
            raise UnavailableError(f"the gateway did not stop {idempotency_key}: {said}")

    def close(self) -> None:
        """Close the connections; attempts that wait are lost."""
        self._pool.close()
