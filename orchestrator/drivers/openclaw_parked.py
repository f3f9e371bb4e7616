"""Runs that nobody waits for any more, while their call is still open: their end is passed on.

Source: spec "gateway" §4. A parked run costs an entry in its connection's table, and no thread.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from models.errors import ErrorCode, UnavailableError
from orchestrator.bridge import Sent
from orchestrator.core.outcome import Failed, Succeeded
from orchestrator.drivers.openclaw_connection import Connection
from orchestrator.drivers.openclaw_frames import Response
from orchestrator.drivers.openclaw_line import ready
from orchestrator.drivers.openclaw_outcome import is_spent
from orchestrator.drivers.openclaw_stream import Stream

_THREADS = 4

log = structlog.get_logger(__name__)

Ended = Callable[[Succeeded | Failed], None]


class Endings:
    """A few threads that pass ends on, since the one that reads a socket must not wait for a database."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="gateway-end")

    def submit(self, work: Callable[[], None]) -> None:
        try:
            self._threads.submit(work)
        except RuntimeError:
            pass  # the process ends; whoever looks the run up finds its end

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """One run. heard: what its events are known by. read: its outcome from the last answer.

    lost: the outcome when the socket is lost, None where the run is looked up then.
    """

    sent: Sent
    connection: Connection
    heard: str
    stream: Stream | None
    ended: Ended
    read: Callable[[str, Response], Succeeded | Failed]
    lost: Callable[[], Failed] | None = None

    def finish(self, answer: Response | None) -> None:
        """Pass the end on; whatever goes wrong is found by the look-up."""
        self.connection.unlisten(self.sent.session_key, self.heard)
        try:
            outcome = self._outcome(answer)
            if outcome is not None:
                self.ended(outcome)
        except Exception:
            log.exception("the end of an agent's run was not taken", run=self.sent.key)

    def _outcome(self, answer: Response | None) -> Succeeded | Failed | None:
        if answer is None:
            found: Succeeded | Failed | None = None if self.lost is None else self.lost()
        else:
            found = self._said(answer)
        if isinstance(found, Failed) and self.stream is not None:
            return self.stream.count_in(self.sent.agent, found)
        return found

    def _said(self, answer: Response) -> Succeeded | Failed | None:
        try:
            found = self.read(self.sent.agent, ready(answer))
        except UnavailableError:
            return None  # the gateway goes down; what became of the run is in its ledger
        if answer.fault is not None and is_spent(answer.fault.message):
            return None  # it is sent under another key when it is looked up
        if answer.fault is None and isinstance(found, Failed) and found.error.code is ErrorCode.VALIDATION:
            # A frame that makes no sense says nothing of the run, which must not go on unseen.
            self.connection.tell("sessions.abort", abort_params(self.sent))
        return found


def abort_params(sent: Sent) -> dict[str, str]:
    """What `sessions.abort` is told to end a run."""
    return {"key": sent.session_key, "runId": sent.key}
