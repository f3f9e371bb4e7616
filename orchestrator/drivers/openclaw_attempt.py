"""One attempt at a gateway: sent once, followed over lost sockets and restarts, never sent blindly again.

Source: spec "gateway" §4, Running a step, and Idempotency and recovery.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog

from models.errors import ErrorCode, InvalidError, OrchestratorError, UnavailableError
from orchestrator.bridge import Accepted, Dispatch, Unsent
from orchestrator.core.outcome import Again, Cancelled, Failed, Succeeded
from orchestrator.drivers.openclaw_call import Call
from orchestrator.drivers.openclaw_connection import Connection
from orchestrator.drivers.openclaw_fate import Going, follow, from_transcript, renewed, wait_for_end
from orchestrator.drivers.openclaw_frames import (
    ConnectionLostError,
    GatewayDownError,
    GatewayRefusedError,
    GivenUpError,
    Response,
)
from orchestrator.drivers.openclaw_line import Line, Term, ready
from orchestrator.drivers.openclaw_outcome import failed, is_spent, outcome
from orchestrator.drivers.openclaw_parked import Endings, Parked, abort_params
from orchestrator.drivers.openclaw_pool import BRIEFLY, Pool
from orchestrator.drivers.openclaw_prompt import prompt
from orchestrator.drivers.openclaw_stream import Stream
from orchestrator.drivers.openclaw_tasks import METHOD, executes_tasks, task_outcome, task_params

_WITHOUT_TIMEOUT = 24 * 3600  # the gateway's own limit for a step that has none
_AWAY_AT_MOST = 300.0  # seconds without the gateway, for a caller with neither patience nor deadline
_ANSWER_WITHIN = 30.0  # seconds for a first answer, which a busy gateway may need
_ANSWER_LEAST = 10.0
_WAIT = 25.0
_LOSSES_AT_MOST = 8
_CALM = 60.0
_RESENDS = 6
_KEYS = 4
_LATE = 60.0  # seconds after the deadline in which a parked call may still hear its end

log = structlog.get_logger(__name__)

Result = Succeeded | Failed | Cancelled | Accepted | Unsent
T = TypeVar("T")


class Attempt:
    """Runs one Dispatch, until its end is known or the caller's patience is over."""

    def __init__(self, pool: Pool, request: Dispatch, endings: Endings) -> None:
        self._pool = pool
        self._request = request
        self._endings = endings
        self._own = request.sent
        self._target = request.sent
        self._term = Term(
            deadline=request.deadline, cancelled=request.cancelled, patience=request.patience
        )
        self._stream = None if request.piece is None else Stream(request.piece)
        self._sent_to: str | None = None  # the boot of the gateway that may have our key
        self._live: str | None = None  # the id of a run that took ours up, or ours when that was looked up
        self._blind = False  # whether what was sent can't be looked up
        self._parked = False
        self._losses = 0
        self._lost_at = 0.0
        self._waits_until = time.monotonic() + BRIEFLY
        patience = _ANSWER_WITHIN if request.patience is None else request.patience
        self._answer_within = min(_ANSWER_WITHIN, max(_ANSWER_LEAST, patience))

    def run(self) -> Result:
        """The outcome, or why there is none yet."""
        try:
            found: Result = self._earlier() or self._steadily(self._once)
        except GivenUpError:
            self._abort()
            return Cancelled()
        except TimeoutError:
            found = self._late()
        except InvalidError as error:
            return failed(ErrorCode.VALIDATION, str(error))
        except (ConnectionLostError, GatewayRefusedError, UnavailableError) as error:
            found = self._without_gateway(error)
        return self._counted(found)

    def _counted(self, found: Result) -> Result:
        if isinstance(found, Failed) and self._stream is not None:
            return self._stream.count_in(self._own.agent, found)
        return found

    def _late(self) -> Result:
        if not self._is_at_work:
            return Unsent(reason="the gateway was not reached within the step's time")
        if self._term.patience_is_over:
            return Accepted(sent=self._target)
        self._abort()
        return failed(ErrorCode.TIMEOUT, "the agent did not answer within the step's time")

    @property
    def _is_at_work(self) -> bool:
        """Whether the gateway may have work of ours."""
        return self._sent_to is not None or self._term.ends is not None or self._target is not self._own

    def _without_gateway(self, error: OrchestratorError) -> Result:
        if self._sent_to is None:
            return Unsent(reason=str(error))
        if self._request.patience is None or self._blind:
            return self._unknown(error)
        return Accepted(sent=self._own)

    def _unknown(self, error: OrchestratorError) -> Failed:
        return failed(
            ErrorCode.NETWORK,
            f"the gateway was lost after the work was sent, so its fate is unknown: {error}",
            details={"fate": "unknown"},
        )

    def _earlier(self) -> Succeeded | None:
        """The success of an attempt whose process died, when it was sent and ended well."""
        for earlier in self._request.earlier:
            self._target, self._live = earlier, None
            found = self._steadily(self._follow_target)
            if isinstance(found, Succeeded):
                return found
        self._target, self._live = self._own, None
        self._term.ends = None
        return None

    def _follow_target(self, line: Line) -> Succeeded | Failed | Again:
        if executes_tasks(line.connection.hello):
            return Again()  # nothing can be looked up there
        return follow(line, self._target, self._going)

    def _going(self, found: Going) -> None:
        self._live = found.run_id

    def _steadily(self, reach: Callable[[Line], T]) -> T:
        """What `reach` gives, over as many connections as it takes."""
        while True:
            connection = self._connection()
            try:
                return reach(Line(connection=connection, term=self._term, answer_within=self._answer_within))
            except ConnectionLostError as error:
                self._count_loss(error)
            except GatewayDownError as error:
                self._count_down(error)

    def _connection(self) -> Connection:
        """Nothing was sent: a short wait. Otherwise the run is to be found again: a long one."""
        limit, cancelled = self._term.limit, self._request.cancelled
        wait, sent = max(0.0, self._waits_until - time.monotonic()), self._sent_to is not None
        try:
            return self._pool.connection(limit, cancelled, wait=wait, patient=sent)
        except UnavailableError:
            if sent:
                self._term.remaining()  # that the time is over says more
            raise

    def _once(self, line: Line) -> Succeeded | Failed:
        """Over one connection: send, unless a gateway that restarted since may know the run already."""
        if executes_tasks(line.connection.hello):
            return self._execute(line)
        boot = line.connection.boot_id
        if self._sent_to is not None and (self._sent_to != boot or not boot):
            found = follow(line, self._own, self._going)
            if not isinstance(found, Again):
                return found
        for _ in range(_KEYS):
            with self._streaming(line.connection):
                ended = self._exchange(line)
            if not _asks_for_another_key(ended):
                break
            self._own = self._target = renewed(self._own)
        return ended

    def _exchange(self, line: Line) -> Succeeded | Failed:
        """Send the key: the first time to start the run, after a loss to find it again."""
        ended = 0
        while ended < _RESENDS:
            answer = self._send(line)
            if answer.status != "in_flight":
                return self._read(answer)
            self._term.begin()
            ended += wait_for_end(line, self._own.key, _WAIT)
            line.term.pause(0.05 * ended)  # right after its end a key may still be called in flight
        return from_transcript(line, self._own)

    def _read(self, answer: Response) -> Succeeded | Failed:
        found = outcome(self._own.agent, answer)
        if answer.fault is None and isinstance(found, Failed) and found.error.code is ErrorCode.VALIDATION:
            self._abort()  # a frame that makes no sense says nothing of the run
        return found

    def _send(self, line: Line) -> Response:
        before = self._sent_to
        with line.connection.call("agent", self._params(), self._request.cancelled) as call:
            self._sent_to = line.connection.boot_id
            try:
                answer = ready(line.first(call))
                return answer if answer.status != "accepted" else ready(self._end_of(line, call))
            except GatewayDownError:
                self._sent_to, self._term.ends = before, None  # it said no, so nothing was begun by this
                raise

    def _end_of(self, line: Line, call: Call) -> Response:
        """The last answer to a call that was accepted; once the patience is over it is left to come by itself."""
        self._term.begin()
        while True:
            try:
                return call.next(self._term.limit)
            except TimeoutError:
                if not self._term.patience_is_over or self._park(line, call):
                    raise

    def _park(self, line: Line, call: Call) -> bool:
        ended = self._request.ended
        if ended is None:
            return True
        parked = Parked(
            sent=self._own,
            connection=line.connection,
            heard=self._heard,
            stream=self._stream,
            ended=ended,
            read=task_outcome if self._blind else outcome,
            lost=_fate_unknown if self._blind else None,
        )
        endings, deadline = self._endings, self._request.deadline

        def then(answer: Response | None) -> None:
            endings.submit(lambda: parked.finish(answer))

        self._parked = call.park(then, None if deadline is None else deadline + _LATE)
        return self._parked

    def _execute(self, line: Line) -> Succeeded | Failed:
        """By `tasks.execute`: one answer, and no way to find the work again."""
        if self._blind:
            raise UnavailableError("the gateway keeps no account of what tasks.execute was asked for")
        self._blind = True
        with (
            self._streaming(line.connection),
            line.connection.call(METHOD, task_params(self._request), self._request.cancelled) as call,
        ):
            self._sent_to = line.connection.boot_id
            try:
                return task_outcome(self._own.agent, ready(self._end_of(line, call)))
            except GatewayDownError:
                self._sent_to, self._blind = None, False
                raise

    @contextmanager
    def _streaming(self, connection: Connection) -> Iterator[None]:
        """Hear what the run says while this waits for it; a call that is parked goes on hearing."""
        if self._stream is None:
            yield
            return
        connection.listen(self._own.session_key, self._heard, self._stream.take)
        try:
            yield
        finally:
            if not self._parked:
                connection.unlisten(self._own.session_key, self._heard)

    @property
    def _heard(self) -> str:
        """What events are known by: the run, or the session where the gateway numbers runs itself."""
        return self._own.session_key if self._blind else self._own.key

    def _params(self) -> dict[str, Any]:
        deadline = self._request.deadline
        left = _WITHOUT_TIMEOUT if deadline is None else deadline - time.monotonic()
        return {
            "message": prompt(self._request),
            "agentId": self._own.agent,
            "sessionKey": self._own.session_key,
            "idempotencyKey": self._own.key,
            "timeout": max(1, math.ceil(left)),
        }

    def _count_loss(self, error: ConnectionLostError) -> None:
        if self._blind:
            raise error
        now = time.monotonic()
        self._losses = self._losses + 1 if now - self._lost_at < _CALM else 1
        self._lost_at = now
        log.info("gateway lost, looking for the run", run=self._target.key, losses=self._losses)
        if self._losses >= _LOSSES_AT_MOST:
            raise error
        if self._sent_to is not None:
            self._term.begin()
            self._wait_longer()
        self._term.pause(0.01 * 2**self._losses)

    def _count_down(self, error: GatewayDownError) -> None:
        if time.monotonic() > self._waits_until:
            raise error
        self._term.pause(error.retry_after)

    def _wait_longer(self) -> None:
        """The run has to be found again: the gateway may stay away until the caller's patience is over."""
        limit = self._term.limit
        self._waits_until = time.monotonic() + _AWAY_AT_MOST if limit is None else limit

    def _abort(self) -> None:
        """Tell the gateway to end the run, when that costs no wait; its own time limit ends it otherwise."""
        connection = self._pool.open_connection()
        if connection is not None and self._is_at_work:
            connection.tell("sessions.abort", self._abort_params())

    def _abort_params(self) -> dict[str, str]:
        if self._blind:  # the ids of runs that tasks.execute began are the gateway's own
            return {"key": self._target.session_key}
        params = abort_params(self._target)
        return params if self._live is None else params | {"runId": self._live}


def _asks_for_another_key(found: Succeeded | Failed) -> bool:
    return isinstance(found, Failed) and is_spent(found.error.message)


def _fate_unknown() -> Failed:
    return failed(
        ErrorCode.NETWORK,
        "the connection to the gateway ended while the agent worked, so the work's fate is unknown",
        details={"fate": "unknown"},
    )
