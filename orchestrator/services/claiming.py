"""Claims: an attempt starts by a compare-and-set, under a lease and, where the run has one, a budget."""

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy.orm import Session

from models.moves import AttemptChange, AttemptResult, Move, Moved, Transition
from models.queries import deadlines as beats
from models.queries import overrides, runs, steps, transitions
from models.queries.runs import RunInfo
from models.queries.steps import Stored
from models.states import StepStatus
from orchestrator.core.plan import Plan, PlanNode
from orchestrator.services import deadlines
from orchestrator.services.deps import Deps
from orchestrator.services.overrides import effective

MICROCENTS = 1_000_000


class BudgetRefusedError(Exception):
    """The reservation did not fit: the claim's transaction is rolled back, and the run is stopped or paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """An attempt that this process holds.

    known: rows of earlier steps that it has at hand. until: of `time.monotonic()`, the end of an attempt that had
    begun before it was claimed here; None: its whole timeout lies ahead.
    """

    info: RunInfo
    plan: Plan
    node: PlanNode
    path: str
    attempt: int
    tries: int
    losses: int
    live_in: str | None
    idempotency_key: str | None
    reserved: int
    queue: str
    known: tuple[Stored, ...] = ()
    until: float | None = None
    given_up: threading.Event = field(default_factory=threading.Event)

    @property
    def no(self) -> int:
        return self.node.no

    @property
    def deadline(self) -> float | None:
        """When its timeout is over, of `time.monotonic()`; None where it has none."""
        if self.until is not None:
            return self.until
        return None if self.node.timeout is None else time.monotonic() + self.node.timeout

    @property
    def default_key(self) -> str:
        """The step's idempotency key where its node has none of its own."""
        return f"{self.info.id}:{self.path}"


def claim(
    deps: Deps, session: Session, info: RunInfo, no: int, attempt: int, known: tuple[Stored, ...] = ()
) -> Claimed | None:
    """Claim a queued step within the caller's transaction; None when the race is lost.

    Raises BudgetRefusedError; the caller must roll back then.
    """
    plan = deps.plans.get(session, info.version_id)
    node = effective(info, plan.at(no))
    pays = info.has_budget and node.undoes is None  # nothing is refused to an undoing
    reserved = estimate(deps, node) if pays else 0
    move = _start(deps, node, attempt, reserved)
    wanted = _wanted(plan, [no], known)
    result = transitions.apply(
        session, Transition(run_id=info.id, moves=(move,), unless_stopping=True, wanted=wanted)
    )
    if result is None or not result.moved:
        return None
    if pays and not runs.reserve(session, info.budget_id, reserved):
        raise BudgetRefusedError
    held = _claimed(session, info, plan, result.moved[0], reserved, (*known, *steps.read(result.stored)))
    _listen(session, info, held.node, held.attempt)
    if node.total_timeout:
        return replace(held, until=deadlines.until(session, deps.clock, info.id, held.node, held.node.timeout))
    return held


def claim_all(
    deps: Deps, session: Session, info: RunInfo, looks: Sequence[tuple[int, int]], known: Sequence[Stored] = ()
) -> list[Claimed]:
    """Claim steps of one run, given by number and fence, by one statement; those of which the race is won, each with
    the rows that its body needs. `known`: rows that are at hand.

    None of them may need another statement: no budget, no heartbeat, no total timeout.
    """
    plan = deps.plans.get(session, info.version_id)
    moves = tuple(_start(deps, effective(info, plan.at(no)), attempt, 0) for no, attempt in sorted(looks))
    wanted = _wanted(plan, [no for no, _ in looks], known)
    result = transitions.apply(
        session, Transition(run_id=info.id, moves=moves, unless_stopping=True, wanted=wanted)
    )
    if result is None:
        return []
    rows = {row.no: row for row in (*known, *steps.read(result.stored))}
    return [_claimed(session, info, plan, moved, known=needed(plan, moved.no, rows)) for moved in result.moved]


def needed(plan: Plan, no: int, rows: Mapping[int, Stored]) -> tuple[Stored, ...]:
    """Of some rows by number, those that the body of a step needs; none for one of a branch, which sees its own."""
    return () if plan.branch(no) else tuple(rows[need] for need in plan.needs(plan.at(no)) if need in rows)


def _wanted(plan: Plan, nos: Sequence[int], known: Sequence[Stored] = ()) -> tuple[int, ...]:
    """The steps whose rows the bodies of these read, none for steps of branches, which see their own."""
    at_hand = {row.no for row in known}
    found = {need for no in nos if not plan.branch(no) for need in plan.needs(plan.at(no))}
    return tuple(sorted(found - at_hand))


def started(info: RunInfo, plan: Plan, moved: Moved, known: tuple[Stored, ...] = ()) -> Claimed:
    """A step that was claimed by the statement which made it ready."""
    return _held(info, plan, effective(info, plan.at(moved.no)), moved, 0, known)


def _start(deps: Deps, node: PlanNode, attempt: int, reserved: int) -> Move:
    return Move(
        no=node.no,
        fence=attempt,
        sources=(StepStatus.QUEUED,),
        to=StepStatus.RUNNING,
        event="step.started",
        bump=1,
        lease=deps.settings.lease_seconds,
        timeout=node.timeout,
        worker=deps.process,
        change=AttemptChange.START,
        result=AttemptResult(status="running", reserved=reserved),
    )


def _claimed(
    session: Session, info: RunInfo, plan: Plan, step: Moved, reserved: int = 0, known: tuple[Stored, ...] = ()
) -> Claimed:
    node = effective(info, plan.at(step.no))
    if step.override is not None:
        node = effective(info, plan.at(step.no), json.loads(step.override))
        overrides.set_timeout(session, info.id, step.no, step.attempt, node.timeout)
    return _held(info, plan, node, step, reserved, known)


def _held(
    info: RunInfo, plan: Plan, node: PlanNode, step: Moved, reserved: int, known: tuple[Stored, ...]
) -> Claimed:
    return Claimed(
        info=info,
        plan=plan,
        node=node,
        path=step.path,
        attempt=step.attempt,
        tries=step.tries,
        losses=step.losses,
        live_in=step.live_in,
        idempotency_key=step.idempotency_key,
        reserved=reserved,
        queue=node.queue,
        known=known,
    )


def _listen(session: Session, info: RunInfo, node: PlanNode, attempt: int) -> None:
    """From now on an attempt's heartbeats are waited for."""
    if node.heartbeat is not None:
        beats.beat(session, info.id, node.no, attempt, node.heartbeat)


def resume(deps: Deps, session: Session, info: RunInfo, no: int, attempt: int) -> Claimed | None:
    """Go on with a parked attempt within the caller's transaction; None when the race is lost.

    It keeps its reservation and what is left of its timeout. In a run that is paused it stays parked.
    """
    plan = deps.plans.get(session, info.version_id)
    move = Move(
        no=no,
        fence=attempt,
        sources=(StepStatus.WAITING,),
        to=StepStatus.RUNNING,
        event="step.resumed",
        lease=deps.settings.lease_seconds,
        worker=deps.process,
        change=AttemptChange.RESUME,
        result=AttemptResult(status="running"),
    )
    result = transitions.apply(session, Transition(run_id=info.id, moves=(move,), unless_stopping=True))
    if result is None or not result.moved:
        return None
    step, left = result.moved[0], steps.seconds_left(session, info.id, no)
    node = effective(info, plan.at(no), overrides.of(session, info.id, no))
    _listen(session, info, node, step.attempt)
    return Claimed(
        info=info,
        plan=plan,
        node=node,
        path=step.path,
        attempt=step.attempt,
        tries=step.tries,
        losses=step.losses,
        live_in=step.live_in,
        idempotency_key=step.idempotency_key,
        reserved=steps.reserved(session, info.id, no, step.attempt) if info.has_budget else 0,
        queue=plan.at(no).queue,
        until=deadlines.until(session, deps.clock, info.id, node, left),
    )


def as_held(deps: Deps, session: Session, info: RunInfo, row: steps.Hot) -> Claimed:
    """A step's present attempt as its worker held it, for whoever ends it in the worker's place."""
    plan = deps.plans.get(session, info.version_id)
    return Claimed(
        info=info,
        plan=plan,
        node=effective(info, plan.at(row.no), row.override),
        path=row.path,
        attempt=row.attempt,
        tries=row.tries,
        losses=row.losses,
        live_in=row.live_in,
        idempotency_key=row.idempotency_key,
        reserved=steps.reserved(session, info.id, row.no, row.attempt),
        queue=row.queue,
    )


def estimate(deps: Deps, node: PlanNode) -> int:
    """What an attempt is expected to cost, in micro-cents.

    Where it calls a run or has a body, the steps in there reserve for themselves.
    """
    if node.calls or node.body is not None:
        return 0
    cents, type_ = node.estimate_cents, deps.types.get(node.type)
    if cents is None:
        cents = (
            0 if type_ is None else type_.cost_cents
        )  # a type that this worker lacks can cost nothing here
    return cents * MICROCENTS
