"""Having the attempts of agent steps done: routed, sent, followed, looked up, stopped.

Where work goes is written down before it goes there, so that whoever comes after a crash can look it up; nothing is
sent a second time before somebody has asked what became of the first (spec "gateway" §4, recovery).
"""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, assert_never

import structlog
from sqlalchemy.orm import Session

from models.database import OUTAGES
from models.errors import ConflictError, ErrorCode, UnavailableError
from models.queries import outbox, steps, sweeps, unserved
from models.queries import routing as queries
from orchestrator.bridge import Accepted, Dispatch, Endpoint, Gateway, Sent, Unsent
from orchestrator.core.effects import Effect
from orchestrator.core.outcome import Again, Cancelled, Failed, Outcome, StepError, Succeeded, Waiting
from orchestrator.core.routing import Wanted
from orchestrator.ports import Parked, StepContext, Task
from orchestrator.services import callbacks, gateways, routing, telling
from orchestrator.services.crash import crash_point
from orchestrator.services.ends import End, Ends, Hear, Send
from orchestrator.services.routing import Asked, Routed
from orchestrator.services.veil import veiled, veiling

if TYPE_CHECKING:
    from orchestrator.services.deps import Deps

_log = structlog.get_logger(__name__)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
LOOK_SECONDS = 10.0
AGAIN_SECONDS, LATEST_SECONDS = 1.0, 30.0
WAITERS = 32


@dataclass(slots=True)
class Places:
    """How many threads of this process may wait for ends at once."""

    size: int = WAITERS
    _taken: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> bool:
        with self._lock:
            free = self._taken < self.size
            self._taken += free
            return free

    def leave(self) -> None:
        with self._lock:
            self._taken -= 1


class Dispatcher:
    """Implements orchestrator.ports.Agents over the registry and the gateways' drivers."""

    def __init__(self, deps: "Deps") -> None:
        self._deps = deps
        self._places = Places()
        self._ends = Ends(seconds=deps.settings.lease_seconds)
        self._send_on: Send = _nobody

    def listen(self, send: Send, hear: Hear) -> None:
        """From now on what this process sees end is settled by `hear`; what follows elsewhere is sent by `send`."""
        self._send_on, self._ends.hear = send, hear

    def serve(self, slots: int) -> None:
        """This process does `slots` steps at once: half of them may wait for ends."""
        self._places.size = max(1, slots // 2)

    def close(self) -> None:
        self._ends.close()

    def dispatch(self, ctx: StepContext, wanted: Wanted, task: Task, session: str) -> Outcome:
        """See orchestrator.ports.Agents."""
        asked = Asked(ctx=ctx, wanted=wanted, session=session)
        try:
            return self._dispatch(asked, task)
        except OUTAGES as error:
            reason = f"{_UNAVAILABLE}: the database does not answer ({type(error).__name__})"
            return Waiting(reason=reason, seconds=AGAIN_SECONDS)
        except ConflictError as error:  # a gateway's token that does not open: an operator can mend it
            return Waiting(reason=f"{_UNAVAILABLE}: {error}", seconds=LOOK_SECONDS)

    def _dispatch(self, asked: Asked, task: Task) -> Outcome:
        ctx, wanted = asked.ctx, asked.wanted
        if wanted.agent is not None and not _NAME.fullmatch(wanted.agent):
            message = f"agent {wanted.agent!r} is no name: write letters, digits, - and _, 64 at most"
            return Failed(error=StepError.of(ErrorCode.VALIDATION, message))
        with self._deps.db.read() as session:
            own = queries.assigned(session, ctx.run_id, ctx.no, ctx.attempt)
            lost = queries.unknown(session, ctx.run_id, ctx.no, ctx.attempt)
            unwritten = own is None and outbox.any_of_run(session, telling.PROVISION, ctx.run_id)
        if own is not None:
            return self._go_on(asked, task, own, lost)
        if unwritten:
            return Waiting(reason=telling.UNWRITTEN, seconds=AGAIN_SECONDS)
        routed = routing.route(self._deps, asked)
        if routed is None:
            return Cancelled()
        if isinstance(routed, Waiting):
            return routed
        crash_point("assigned")
        return self._found(asked, routed, lost) or self._send(asked, task, routed, lost)

    def _go_on(
        self, asked: Asked, task: Task, own: Mapping[str, str], lost: Sequence[Mapping[str, str]]
    ) -> Outcome:
        """An attempt that was sent before: what became of it; sent again, under its key, if it never arrived."""
        routed = self._routed(asked, own)
        if routed is None:
            return _gone(own)
        try:
            found = self._look_up(routed.endpoint, routed.sent)
        except UnavailableError as error:
            _log.warning("work not looked up", run=asked.ctx.run_id, step=asked.ctx.path, error=str(error))
            found = None
        if found is None:
            return _parks(routed)
        if not isinstance(found, Again):
            return found
        return self._found(asked, routed, lost) or self._send(asked, task, routed, lost)

    def _routed(self, asked: Asked, own: Mapping[str, str]) -> Routed | None:
        with self._deps.db.read() as session:
            endpoint = gateways.endpoint(self._deps, session, own["gateway_id"])
            row = queries.gateway(session, own["gateway_id"])
        if endpoint is None or row is None:
            return None
        sent = routing.sent_of(own)
        return Routed(endpoint=endpoint, sent=sent, agent=asked.wanted.agent or sent.agent, place=row.name)

    def _found(self, asked: Asked, routed: Routed, lost: Sequence[Mapping[str, str]]) -> Outcome | None:
        """What attempts whose fate is unknown have come to at other gateways; this one's driver looks itself.

        A success is taken, what goes on is followed; what failed or never arrived is done anew.
        """
        for where in lost:
            if where["gateway_id"] == routed.endpoint.id:
                continue
            other = self._routed(asked, where)
            if other is None:
                continue
            try:
                found = self._look_up(other.endpoint, other.sent)
            except UnavailableError as error:
                self._unassign(asked)
                reason = f"gateway {other.place}, where a lost attempt was sent, does not say: {error}"
                return Waiting(reason=f"{_UNAVAILABLE}: {reason}", seconds=LOOK_SECONDS)
            if isinstance(found, Succeeded):
                return found
            if found is None:
                self._follow(asked, where)
                return _parks(other)
        return None

    def _send(self, asked: Asked, task: Task, routed: Routed, lost: Sequence[Mapping[str, str]]) -> Outcome:
        driver = self._driver(routed.endpoint)
        if isinstance(driver, Failed):
            self._unassign(asked)
            return driver
        stream = self._deps.chunks.stream(asked.ctx.run_id, asked.ctx.path, asked.ctx.attempt)
        waits = self._places.take()
        try:
            said = driver.dispatch(
                routed.endpoint,
                replace(
                    self._request(asked, task, routed, lost),
                    patience=self._deps.settings.gateway_sync_seconds if waits else 0.0,
                    ended=lambda end: self._ends.take(
                        _end(asked.ctx, veiled(routed.endpoint, end), stream.end)
                    ),
                    piece=stream,
                ),
            )
        finally:
            if waits:
                self._places.leave()
        crash_point("accepted")
        if isinstance(said, Succeeded | Failed):
            stream.end()
        return self._said(asked, routed, veiled(routed.endpoint, said))

    def _request(
        self, asked: Asked, task: Task, routed: Routed, lost: Sequence[Mapping[str, str]]
    ) -> Dispatch:
        ctx = asked.ctx
        earlier = [where for where in lost if where["gateway_id"] == routed.endpoint.id]
        return Dispatch(
            sent=routed.sent,
            task=task,
            input=ctx.input,
            deadline=ctx.deadline,
            cancelled=ctx.cancelled,
            run_id=ctx.run_id,
            path=ctx.path,
            attempt=ctx.attempt,
            earlier=tuple(routing.sent_of(where) for where in earlier),
            callback_url=callbacks.url(self._deps, ctx.run_id, ctx.no, ctx.attempt),
        )

    def _said(
        self, asked: Asked, routed: Routed, said: Succeeded | Failed | Cancelled | Accepted | Unsent
    ) -> Outcome:
        match said:
            case Accepted(sent=sent):
                if sent != routed.sent:
                    self._follow(asked, routing.assignment(routed.endpoint.id, sent))
                self._note(lambda: gateways.well(self._deps, routed.endpoint.id, None))
                return _parks(routed)
            case Unsent(reason=reason):
                self._unassign(asked)
                self._note(lambda: gateways.failed(self._deps, routed.endpoint.id, reason))
                why = f"{_UNAVAILABLE}: gateway {routed.place} was not reached: {reason}"
                return Waiting(reason=why, seconds=self._later(asked.ctx))
            case Succeeded() | Failed() | Cancelled():
                self._note(lambda: gateways.well(self._deps, routed.endpoint.id, None))
                return said
            case _ as never:
                assert_never(never)

    def _later(self, ctx: StepContext) -> float:
        """Seconds until work that could not be sent is sent: longer and longer, for pings may find all well."""
        with self._deps.db.read() as session:
            began = steps.claimed_at(session, ctx.run_id, ctx.no, ctx.attempt)
            age = 0.0 if began is None else sweeps.clock(session) - began.timestamp()
        return min(LATEST_SECONDS, max(AGAIN_SECONDS, age / 2))

    def _note(self, health: Callable[[], Sequence[Effect]]) -> None:
        """Note a gateway's health and send what follows; pings do so too, and no outcome is to be lost for it."""
        try:
            self._send_on(health())
        except Exception as error:
            _log.warning("a gateway's health was not noted", reason=type(error).__name__)

    def _driver(self, endpoint: Endpoint) -> Gateway | Failed:
        driver = self._deps.gateways.get(endpoint.kind)
        if driver is not None:
            return driver
        kinds = ", ".join(sorted(self._deps.gateways))
        message = f"there is no driver for gateways of the kind {endpoint.kind!r}; this worker has {kinds}"
        return Failed(error=StepError.of(ErrorCode.VALIDATION, message))

    def _look_up(self, endpoint: Endpoint, sent: Sent) -> Succeeded | Failed | Again | None:
        driver = self._driver(endpoint)
        if isinstance(driver, Failed):
            return driver
        with veiling(endpoint):
            return veiled(endpoint, driver.look_up(endpoint, sent))

    def _unassign(self, asked: Asked) -> None:
        """Nothing was sent: the attempt is nowhere."""
        ctx = asked.ctx
        with self._deps.db.transaction() as session:
            queries.assign(session, ctx.run_id, ctx.no, ctx.attempt, agent_id=None, agent=None, assigned=None)
            if asked.session != "attempt":
                queries.unstick(session, ctx.run_id, asked.session)

    def _follow(self, asked: Asked, where: Mapping[str, str]) -> None:
        """An earlier attempt's work goes on: it is this one's now."""
        ctx = asked.ctx
        with self._deps.db.transaction() as session:
            queries.reassign(session, ctx.run_id, ctx.no, ctx.attempt, where)

    def answer(self, parked: Parked) -> Succeeded | Failed | Again | None:
        """See orchestrator.ports.Agents."""
        with self._deps.db.read() as session:
            own = queries.assigned(session, parked.run_id, parked.no, parked.attempt)
            waits = own is None and (
                outbox.any_of_run(session, telling.PROVISION, parked.run_id)
                or unserved.offered(session, parked.run_id, parked.no, parked.attempt)
            )
            endpoint = None if own is None else self._endpoint(session, own)
        if own is None:
            return None if waits else Again()
        if endpoint is None:
            return _gone(own)
        return self._look_up(endpoint, routing.sent_of(own))

    def _endpoint(self, session: Session, own: Mapping[str, str]) -> Endpoint | None:
        try:
            return gateways.endpoint(self._deps, session, own["gateway_id"])
        except ConflictError as error:
            raise UnavailableError(str(error)) from error

    def stop(self, run_id: str, no: int, attempt: int) -> None:
        """See orchestrator.ports.Agents."""
        with self._deps.db.read() as session:
            own = queries.assigned(session, run_id, no, attempt)
            endpoint = None if own is None else gateways.endpoint(self._deps, session, own["gateway_id"])
            offered = unserved.offered(session, run_id, no, attempt)
        if offered:
            with self._deps.db.transaction() as session:
                unserved.take_back(session, run_id, no, attempt)
        if own is None or endpoint is None:
            return
        driver = self._driver(endpoint)
        if not isinstance(driver, Failed):
            with veiling(endpoint):
                driver.stop(endpoint, routing.sent_of(own))


_UNAVAILABLE = ErrorCode.AGENT_UNAVAILABLE.value


def _nobody(effects: Sequence[Effect]) -> None:
    """A process that sends nothing: sweeps do."""


def _end(ctx: StepContext, outcome: Succeeded | Failed, finish: Callable[[], None]) -> End:
    return End(run_id=ctx.run_id, no=ctx.no, attempt=ctx.attempt, outcome=outcome, finish=finish)


def _parks(routed: Routed) -> Waiting:
    return Waiting(reason=f"agent {routed.agent} at gateway {routed.place}", seconds=LOOK_SECONDS)


def _gone(where: Mapping[str, str]) -> Failed:
    message = (
        f"the gateway {where['gateway_id']}, where the work was sent, was removed: nobody can ask what became of "
        "it; look at the agent, then retry the step or complete it by hand"
    )
    # To send it elsewhere could do twice what goes on there.
    return Failed(error=StepError.of(ErrorCode.AGENT_UNAVAILABLE, message, transient=False))
