"""The sweeps: what makes good every message that was lost and every worker that died.

Each is idempotent, bounded, safe beside any number of others, and says what is to be sent. Source: spec
"engine", Sweeps; `beat_schedule.py` has an entry for each.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

import structlog
from sqlalchemy.orm import Session

from models.database import OUTAGES
from models.errors import ErrorCode
from models.moves import AttemptChange, AttemptResult, Move
from models.queries import idempotency, outbox, runs, stamps, steps, sweeps
from models.queries.runs import RunInfo
from models.queries.sweeps import Backlog, DueStep
from models.states import RunStatus, StepStatus
from orchestrator.core import decide
from orchestrator.core.effects import Effect, Message, Relay, Stop, Timer, Wave
from orchestrator.core.outcome import Failed, StepError
from orchestrator.core.plan import PlanNode
from orchestrator.services import (
    claiming,
    concurrency,
    container_ends,
    containers,
    lanes,
    looking,
    stopping,
    telling,
    waking,
)
from orchestrator.services.advance import Advance
from orchestrator.services.completing import Completion
from orchestrator.services.crash import crash_point
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import KEPT
from orchestrator.services.performing import Performed

_log = structlog.get_logger(__name__)
BATCH = 500
RESEND_SECONDS = 5.0
SHORTAGE_SECONDS = 1.0
POISON = 3
T = TypeVar("T")
Length = Callable[[str], int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep did: effects to send, and whether more is left than it took."""

    effects: tuple[Effect, ...] = ()
    found: int = 0

    @property
    def more(self) -> bool:
        return self.found >= BATCH


def undispatched(deps: Deps, length: Length | None = None) -> Swept:
    """Send what was held back and has room now, and again what nobody claimed: 5 s after its message, sooner
    where the broker lost it.

    `length` gives the length of a broker's queue. No more is sent again than can have been lost: what we hold
    for sent and the broker has not. So a long queue is not made longer.
    """
    released = lanes.sweep(deps)
    found = sum(len(wave.messages) for wave in released)
    again = _again(deps, length)
    return Swept(effects=(*released, *again.effects), found=max(found, again.found))


def _again(deps: Deps, length: Length | None) -> Swept:
    limit, first = BATCH, RESEND_SECONDS
    with deps.db.read() as session:
        if length is not None:
            limit, first = _worth_sending(sweeps.backlogs(session), length)
        if limit == 0 or (deps.db.is_sqlite and not sweeps.any_unsent(session, first)):
            return Swept()
    with deps.db.transaction() as session:
        taken = sweeps.take_unsent(session, limit, first)
    crash_point("mid_sweep")
    waves: dict[tuple[str, str], list[Message]] = {}
    for step in taken:
        waves.setdefault((step.run_id, step.queue), []).append(_message(step))
    effects = tuple(Wave(messages=tuple(messages)) for messages in waves.values())
    return Swept(effects=effects, found=len(taken))


def _worth_sending(backlogs: Sequence[Backlog], length: Length) -> tuple[int, float]:
    """How many steps to send at most, and after how many seconds unclaimed."""
    limit, first = 0, RESEND_SECONDS
    for backlog in backlogs:
        there = length(backlog.queue) if backlog.sent else None
        if backlog.sent and there == 0:
            first = SHORTAGE_SECONDS
        limit += max(0, backlog.sent - (there or 0))
    return min(limit, BATCH), first


def _message(step: DueStep) -> Message:
    return Message(run_id=step.run_id, no=step.no, path=step.path, attempt=step.attempt, queue=step.queue)


def _each(deps: Deps, found: Iterable[T], act: Callable[[Deps, T], tuple[Effect, ...]]) -> tuple[Effect, ...]:
    """What follows for each that was found; one that cannot be dealt with holds up no other."""
    effects: list[Effect] = []
    for item in found:
        try:
            effects += act(deps, item)
        except OUTAGES:
            raise
        except Exception:
            _log.exception("passed over by a sweep", item=item)
    return tuple(effects)


def leases(deps: Deps) -> Swept:
    """Take back steps whose worker was lost: queued again, or failed when they killed three workers.

    Nothing expires within one lease of the first contact after the database was away.
    """
    with deps.db.read() as session:
        if not _in_contact(deps, session_now := sweeps.clock(session), stamps.last(session, _CONTACT)):
            found = []
        else:
            found = sweeps.expired_leases(session, BATCH)
    _note_contact(deps, session_now)
    effects = _each(deps, found, _lost)
    return Swept(effects=tuple(effects), found=len(found))


_CONTACT = ("leases.seen", "leases.contact")


def _silence(deps: Deps) -> float:
    """After how many seconds without a sweep the database counts as having been away."""
    return max(deps.settings.lease_seconds, 4 * deps.settings.sweep_seconds)


def _in_contact(deps: Deps, now: float, last: Mapping[str, float]) -> bool:
    since = now - last.get("leases.contact", now)
    return now - last.get("leases.seen", 0) <= _silence(deps) and since >= deps.settings.lease_seconds


def _note_contact(deps: Deps, now: float) -> None:
    with deps.db.transaction() as session:
        seen = stamps.last(session, _CONTACT).get("leases.seen")
        if seen is None or now - seen > _silence(deps):
            stamps.put(session, "leases.contact", now)
        stamps.put(session, "leases.seen", now)


def _lost(deps: Deps, step: DueStep) -> tuple[Effect, ...]:
    with deps.db.transaction() as session:
        state = runs.lock(session, step.run_id)
        if step.losses + 1 >= POISON:
            message = f"the worker was lost {POISON} times while it did this step; it is not tried again"
            return _fail(deps, session, step, ErrorCode.WORKER_LOST, message)
        advance = _advance(deps, session, step.run_id)
        stopping = state is not None and state.stopping is not None
        if stopping or container_ends.is_closed(advance, step.no):
            message = "the worker was lost while the run was being stopped; the step is not tried again"
            return _fail(deps, session, step, ErrorCode.WORKER_LOST, message)
        node = advance.plan.at(step.no)
        reserved = steps.reserved(session, step.run_id, step.no, step.attempt)
        cost = claiming.estimate(deps, node)
        move = Move(
            no=step.no,
            fence=step.attempt,
            sources=(StepStatus.RUNNING,),
            to=StepStatus.QUEUED,
            event="step.queued",
            more={"reason": ErrorCode.WORKER_LOST.value},
            losses=1,
            change=AttemptChange.END,
            result=AttemptResult(status="lost", cost=cost),
        )
        if not advance.requeue(move, decide.leaving_chord(advance.plan, node)):
            return ()
        runs.settle(session, advance.info.budget_id, reserved, cost)
        runs.note(session, step.run_id, "step.lease_expired", {"step": step.path, "attempt": step.attempt})
        _log.warning("lease expired", run=step.run_id, step=step.path, attempt=step.attempt)
        return tuple(advance.waves())


def timeouts(deps: Deps) -> Swept:
    """Fail attempts, parked ones too, and runs that have outrun their timeout."""
    with deps.db.read() as session:
        found = sweeps.timed_out(session, BATCH)
        outrun = sweeps.timed_out_runs(session, deps.clock.now(), BATCH)
    effects = _each(deps, found, _time_out) + _each(deps, outrun, _time_out_run)
    return Swept(effects=effects, found=max(len(found), len(outrun)))


def _time_out(deps: Deps, step: DueStep) -> tuple[Effect, ...]:
    with deps.db.transaction() as session:
        runs.lock(session, step.run_id)
        advance = _advance(deps, session, step.run_id)
        if advance.plan.at(step.no).body is not None:
            container_ends.time_out(advance, step.no, step.attempt)
            return tuple(advance.waves())
        return _fail(deps, session, step, ErrorCode.TIMEOUT, "the attempt has outrun its timeout")


def _time_out_run(deps: Deps, run_id: str) -> tuple[Effect, ...]:
    with deps.db.transaction() as session:
        state = runs.lock(session, run_id)
        if state is None or state.status is not RunStatus.RUNNING or state.stopping is not None:
            return ()
        if state.timeout_at is None or state.timeout_at.timestamp() > deps.clock.now():
            return ()  # it was paused and resumed meanwhile
        advance = _advance(deps, session, run_id)
        error = {
            "code": ErrorCode.TIMEOUT.value,
            "message": "the run has outrun its timeout",
            "step": None,
            "details": None,
        }
        advance.stop(RunStatus.FAILED, error)
        return tuple(advance.effects)


def _fail(deps: Deps, session: Session, step: DueStep, code: ErrorCode, message: str) -> tuple[Effect, ...]:
    """Fail an attempt in the place of its worker, a parked one too; its retry policy and error port apply."""
    runs.lock(session, step.run_id)
    (now,) = steps.hot(session, step.run_id, [step.no])
    if now.status != step.status or now.attempt != step.attempt:
        return ()
    claimed = claiming.as_held(deps, session, _info(session, step.run_id), now)
    if code is ErrorCode.WORKER_LOST:
        claimed = replace(claimed, node=_without_retry(claimed.node))
    node = claimed.node
    done = Performed(
        outcome=Failed(error=StepError.of(code, message)),
        digits=decide.edges_on_failure(node),
        dispatched=True,
    )
    source = StepStatus(now.status)
    effects, _ = Completion(deps=deps, claimed=claimed, source=source).write(session, done)
    if not node.slow:
        return (*effects, *stopping.recall(session, claimed.plan, step.run_id, [now], spare_running=False))
    work = stopping.under_way(session, step.run_id, now)
    return (*effects, *stopping.end_work(session, step.run_id, step.no, work))


def due(deps: Deps) -> Swept:
    """Queue retries whose wait is over; wake timers; start runs whose concurrency key has room."""
    with deps.db.read() as session:
        found = sweeps.due(session, deps.clock.now(), BATCH)
    effects = _each(deps, found, _wake)
    return Swept(effects=(*effects, *concurrency.sweep(deps)), found=len(found))


def wake(deps: Deps, timer: Timer) -> tuple[Effect, ...]:
    """What an in-process timer does when it fires; the sweep does the same a little later."""
    with deps.db.read() as session:
        step = sweeps.due_one(session, timer.run_id, timer.no, timer.attempt)
    return () if step is None else _wake(deps, step, timer.seconds)


def _wake(deps: Deps, step: DueStep, after: float | None = None) -> tuple[Effect, ...]:
    if step.status == StepStatus.WAITING and looking.asks(deps, step.run_id, step.no):
        return looking.look(deps, step.run_id, step.no, step.attempt, after)
    with deps.db.transaction() as session:
        advance = _advance(deps, session, step.run_id)
        if step.status == StepStatus.WAITING and advance.plan.at(step.no).body is not None:
            containers.wake(advance, step.no, step.attempt)
            return tuple(advance.waves())
        if step.status == StepStatus.WAITING:
            waking.complete(advance, step.no, step.attempt, {})
            return tuple(advance.waves())
        move = Move(
            no=step.no,
            fence=step.attempt,
            sources=(StepStatus.RETRYING,),
            to=StepStatus.QUEUED,
            event="step.queued",
        )
        advance.requeue(move)
        return tuple(advance.waves())


def stops(deps: Deps) -> Swept:
    """Send the stops again that were not carried out."""
    with deps.db.transaction() as session:
        found = outbox.take_due(session, sweeps.clock(session), BATCH, ("stop",))
    return Swept(effects=tuple(Stop(outbox_id=entry) for entry in found), found=len(found))


def relays(deps: Deps) -> Swept:
    """Send again what runs and those that they call have to tell each other."""
    with deps.db.read() as session:
        if not outbox.any_due(session, sweeps.clock(session), telling.KINDS):
            return Swept()
    with deps.db.transaction() as session:
        found = outbox.take_due(session, sweeps.clock(session), BATCH, telling.KINDS)
    return Swept(effects=tuple(Relay(outbox_id=entry) for entry in found), found=len(found))


def answers(deps: Deps) -> Swept:
    """Forget the answers to writes whose `Idempotency-Key` is older than it is kept."""
    expired = datetime.now(UTC) - KEPT
    with deps.db.read() as session:
        if not idempotency.any_before(session, expired):
            return Swept()
    with deps.db.transaction() as session:
        return Swept(found=idempotency.purge(session, expired, BATCH))


def _info(session: Session, run_id: str) -> RunInfo:
    info = runs.info(session, run_id)
    assert info is not None, f"step of run {run_id}, which is not there"
    return info


def _advance(deps: Deps, session: Session, run_id: str) -> Advance:
    info = _info(session, run_id)
    return Advance(deps=deps, session=session, plan=deps.plans.get(session, info.version_id), info=info)


def _without_retry(node: PlanNode) -> PlanNode:
    return replace(node, retry=replace(node.retry, policy="never"))


SWEEPS: Mapping[str, Callable[[Deps], Swept]] = {
    "undispatched": undispatched,
    "leases": leases,
    "timeouts": timeouts,
    "due": due,
    "stops": stops,
    "relays": relays,
    "answers": answers,
}


BEAT = "beat"


def run(deps: Deps, name: str, length: Length | None = None, *, on_beat: bool = False) -> Swept:
    """Run one sweep and stamp it, so that workers know that somebody sweeps; and beat, if it asked for it."""
    swept = undispatched(deps, length) if name == "undispatched" else SWEEPS[name](deps)
    with deps.db.transaction() as session:
        now = sweeps.clock(session)
        stamps.put(session, f"sweep.{name}", now)
        if on_beat:
            stamps.put(session, BEAT, now)
    return swept


def stale(deps: Deps) -> list[str]:
    """The sweeps that nobody ran for three intervals."""
    with deps.db.read() as session:
        now = sweeps.clock(session)
        last = stamps.last(session, [f"sweep.{name}" for name in SWEEPS])
    limit = now - 3 * deps.settings.sweep_seconds
    return [name for name in SWEEPS if last.get(f"sweep.{name}", 0.0) < limit]
