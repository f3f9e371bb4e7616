"""The sweeps: what makes good every message that was lost and every worker that died.

Each is idempotent, bounded, safe beside any number of others, and says what is to be sent. Source: spec
"engine", Sweeps; `beat_schedule.py` has an entry for each.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import structlog

from models.errors import ErrorCode
from models.moves import AttemptChange, AttemptResult, Move
from models.queries import idempotency, outbox, runs, stamps, steps, sweeps
from models.queries.sweeps import Backlog, DueStep
from models.states import StepStatus
from orchestrator.core import decide
from orchestrator.core.effects import Effect, Message, Relay, Stop, Timer, Wave
from orchestrator.core.outcome import StepError
from orchestrator.services import (
    agent_sweeps,
    auditing,
    bus_feed,
    claiming,
    concurrency,
    contact,
    container_ends,
    containers,
    firing,
    gateway_sweeps,
    hook_calls,
    lanes,
    looking,
    operational,
    retention,
    telling,
    waking,
    webhook_sweeps,
)
from orchestrator.services import unserved as waits
from orchestrator.services.crash import crash_point
from orchestrator.services.deps import Deps
from orchestrator.services.failing import advance_of, fail
from orchestrator.services.idempotency import KEPT
from orchestrator.services.swept import BATCH, each
from orchestrator.services.swept import Swept as Swept
from orchestrator.services.timing_out import timeouts

_log = structlog.get_logger(__name__)
RESEND_SECONDS = 5.0
SHORTAGE_SECONDS = 1.0
POISON = 3
T = TypeVar("T")
Length = Callable[[str], int | None]


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


def leases(deps: Deps) -> Swept:
    """Take back steps whose worker was lost: queued again, or failed when they killed three workers.

    Nothing expires within one lease of the first contact after the database was away.
    """
    with deps.db.read() as session:
        if not contact.lasts(deps, session_now := sweeps.clock(session), stamps.last(session, contact.STAMPS)):
            found = []
        else:
            found = sweeps.expired_leases(session, BATCH)
    contact.note(deps, session_now)
    effects = each(deps, found, _lost)
    return Swept(effects=tuple(effects), found=len(found))


def _lost(deps: Deps, step: DueStep) -> tuple[Effect, ...]:
    with deps.db.transaction() as session:
        state = runs.lock(session, step.run_id)
        if step.losses + 1 >= POISON:
            message = f"the worker was lost {POISON} times while it did this step; it is not tried again"
            return fail(deps, session, step, StepError.of(ErrorCode.WORKER_LOST, message), final=True)
        advance = advance_of(deps, session, step.run_id)
        stopping = state is not None and state.stopping is not None
        if stopping or container_ends.is_closed(advance, step.no):
            message = "the worker was lost while the run was being stopped; the step is not tried again"
            return fail(deps, session, step, StepError.of(ErrorCode.WORKER_LOST, message), final=True)
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


def due(deps: Deps) -> Swept:
    """Queue retries whose wait is over; wake timers; start runs whose concurrency key has room."""
    with deps.db.read() as session:
        found = sweeps.due(session, deps.clock.now(), BATCH)
    effects = each(deps, found, _wake)
    return Swept(effects=(*effects, *concurrency.sweep(deps)), found=len(found))


def wake(deps: Deps, timer: Timer) -> tuple[Effect, ...]:
    """What an in-process timer does when it fires; the sweep does the same a little later."""
    with deps.db.read() as session:
        step = sweeps.due_one(session, timer.run_id, timer.no, timer.attempt)
    return () if step is None else _wake(deps, step, timer.seconds)


def _wake(deps: Deps, step: DueStep, after: float | None = None) -> tuple[Effect, ...]:
    if step.status == StepStatus.WAITING and looking.asks(deps, step.run_id, step.no):
        if after is None:
            return looking.later(deps, step.run_id, step.no, step.attempt)
        return looking.look(deps, step.run_id, step.no, step.attempt, after)
    with deps.db.transaction() as session:
        advance = advance_of(deps, session, step.run_id)
        if step.status == StepStatus.WAITING and advance.plan.at(step.no).body is not None:
            runs.lock(session, step.run_id)  # a timer and a sweep may wake it at once: the counters have to stay
            containers.wake(advance, step.no, step.attempt)
            return tuple(advance.waves())
        if step.status == StepStatus.WAITING:
            waking.complete(
                advance, step.no, step.attempt, steps.timer_output(session, step.run_id, step.path)
            )
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


def unserved(deps: Deps) -> Swept:
    """Let the steps go on that wait for an agent and can be served."""
    effects = waits.sweep(deps)
    return Swept(effects=effects, found=len(effects))


def relays(deps: Deps) -> Swept:
    """Send again what runs and those that they call have to tell each other."""
    with deps.db.read() as session:
        if not outbox.any_due(session, sweeps.clock(session), telling.KINDS):
            return Swept()
    with deps.db.transaction() as session:
        found = outbox.take_due(session, sweeps.clock(session), BATCH, telling.KINDS)
    return Swept(effects=tuple(Relay(outbox_id=entry) for entry in found), found=len(found))


def answers(deps: Deps) -> Swept:
    """Forget the answers to writes whose `Idempotency-Key` is older than it is kept, and numbers of hooks' senders."""
    expired = datetime.now(UTC) - KEPT
    found = hook_calls.forget(deps)
    with deps.db.read() as session:
        if not idempotency.any_before(session, expired):
            return Swept(found=found)
    with deps.db.transaction() as session:
        return Swept(found=max(found, idempotency.purge(session, expired, BATCH)))


SWEEPS: Mapping[str, Callable[[Deps], Swept]] = {
    "undispatched": undispatched,
    "leases": leases,
    "timeouts": timeouts,
    "due": due,
    "stops": stops,
    "relays": relays,
    "answers": answers,
    "unserved": unserved,
    "agents": agent_sweeps.agents_and_work,
    "offers": agent_sweeps.offers,
    "gateways": gateway_sweeps.pings,
    "operational": operational.purge,
    "webhooks": webhook_sweeps.webhooks,
    "audit": auditing.seal,
    "bus": bus_feed.feed,
    "retention": retention.sweep,
    "schedules": firing.sweep,
}

# Seconds between runs of what reads a whole table, or hurries nobody; beat_schedule.py says the same.
SELDOM: Mapping[str, float] = {"offers": 60.0, "retention": 60.0}
BEAT = "beat"


def run(deps: Deps, name: str, length: Length | None = None, *, on_beat: bool = False) -> Swept:
    """Run one sweep and stamp it, so that workers know that somebody sweeps; and beat, if it asked for it."""
    swept = undispatched(deps, length) if name == "undispatched" else SWEEPS[name](deps)
    with deps.db.single() as session:
        stamps.put_all(session, [f"sweep.{name}", BEAT] if on_beat else [f"sweep.{name}"])
    return swept


def stale(deps: Deps) -> list[str]:
    """The sweeps that nobody ran for three intervals."""
    with deps.db.glance() as session:
        ages = stamps.ages(session, "sweep.")
    every = {name: max(deps.settings.sweep_seconds, SELDOM.get(name, 0.0)) for name in SWEEPS}
    return [name for name in SWEEPS if ages.get(name, math.inf) > 3 * every[name]]
