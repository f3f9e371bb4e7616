"""Stopping a run: nothing new starts, what runs is given up or let end, all in one transaction.

Source: spec "engine", Abort, fail_fast. The stop of work at a gateway is an effect with an outbox row.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from models.moves import AttemptChange, AttemptResult, Move, Transition
from models.queries import outbox, runs, steps, sweeps, transitions, unserved
from models.queries.runs import RunInfo
from models.queries.steps import Hot
from models.states import STEP_TERMINAL, RunStatus, StepStatus
from orchestrator.core.effects import Effect, Stop
from orchestrator.core.plan import Plan, PlanNode
from orchestrator.core.skips import CHUNK
from orchestrator.services import claiming, counting, telling
from orchestrator.services.deps import Deps
from orchestrator.services.unserved import TYPES

_HOLDS = (StepStatus.RUNNING, StepStatus.WAITING)  # an attempt that has begun, and what it reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """What is left after a stop: steps that are let end, and effects."""

    open_steps: int
    effects: tuple[Effect, ...]


def stop(
    deps: Deps, session: Session, plan: Plan, info: RunInfo, status: RunStatus, *, spare_running: bool = False
) -> Stopped:
    """Close a run's steps; it ends as `status` when the last one that is let end has ended.

    A slow step that is parked works elsewhere, and is treated as one that runs; so is one that waits for a run
    that it called, which is stopped in the same way.

    `spare_running` lets everything that runs end (budget); otherwise only external commitments are.
    """
    rows = [row for row in steps.hot(session, info.id) if row.status not in STEP_TERMINAL]
    closed = close(deps, session, plan, info, rows, status, spare_running=spare_running)
    return Stopped(open_steps=len(rows) - closed.steps, effects=closed.effects)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """How many steps were closed, the branches that have no open step left then, and effects."""

    steps: int
    branches: tuple[int, ...]
    effects: tuple[Effect, ...]


def close(
    deps: Deps,
    session: Session,
    plan: Plan,
    info: RunInfo,
    rows: Sequence[Hot],
    status: RunStatus | None = None,
    *,
    spare_running: bool = False,
) -> Closed:
    """Close steps that are not terminal, but for those that are let end; `status`: the whole run is to end so."""
    idle = unbegun(session, plan, info.id, rows)
    let_end = {row.no for row in rows if is_let_end(plan, row, idle, spare_running=spare_running)}
    closed = [row for row in rows if row.no not in let_end]
    moves = [_move(deps, plan.at(row.no), row, idle) for row in closed]
    ended: list[int] = []
    for at in range(0, len(moves), CHUNK):
        transition = Transition(
            run_id=info.id,
            moves=tuple(moves[at : at + CHUNK]),
            while_=("pending", "running", "paused"),
            stopping=None if status is None else status.value,
        )
        result = transitions.apply(session, transition)
        if result is not None:
            ended += counting.count(session, plan, transition, result)
    held = [(row.no, row.attempt) for row in closed if row.status in _HOLDS]
    if info.has_budget and held:
        cost = sum(move.result.cost for move in moves if move.result is not None)
        runs.settle(session, info.budget_id, steps.reserved_by(session, info.id, held), cost)
    kept = [row for row in rows if row.no in let_end] if spare_running else []
    undo = status is not RunStatus.ABORTED
    effects = (
        *end_all_work(session, plan, info.id, closed),
        *recall(session, plan, info.id, closed, spare_running=False, compensate=undo),
        *recall(session, plan, info.id, kept, spare_running=True, compensate=undo),
    )
    return Closed(steps=len(closed), branches=tuple(ended), effects=effects)


def end_work(session: Session, run_id: str, row: Hot, attempts: Iterable[int]) -> tuple[Effect, ...]:
    """Stop what attempts of a step have under way elsewhere: an outbox row and an effect for each.

    It names the key that they work under: the step may get another one before the stop is carried out.
    """
    now, told = sweeps.clock(session), {"idempotency_key": row.idempotency_key}
    return tuple(
        Stop(outbox_id=outbox.add(session, "stop", run_id, row.no, attempt, told, now)) for attempt in attempts
    )


def recall(
    session: Session,
    plan: Plan,
    run_id: str,
    rows: Iterable[Hot],
    *,
    spare_running: bool,
    compensate: bool = True,
) -> tuple[Effect, ...]:
    """Abort what steps that were parked have called; `spare_running`: what runs there may end.

    compensate: what was done there is undone, as nobody takes it over; not where the run was aborted as it is.
    """
    return tuple(
        telling.recall(
            session, run_id, row.no, row.attempt, spare_running=spare_running, compensate=compensate
        )
        for row in rows
        if row.status == StepStatus.WAITING and plan.at(row.no).calls
    )


def under_way(session: Session, run_id: str, row: Hot) -> tuple[int, ...]:
    """The attempts of a step whose work may go on elsewhere: the present one, and those that were lost."""
    present = (row.attempt,) if row.status in _HOLDS else ()
    lost = steps.lost_attempts(session, run_id, row.no) if row.losses else ()
    return (*present, *lost)


def end_all_work(session: Session, plan: Plan, run_id: str, closed: Iterable[Hot]) -> tuple[Effect, ...]:
    """Stop what steps that are closed have under way elsewhere, by lost attempts too."""
    return tuple(
        effect
        for row in closed
        if plan.at(row.no).slow
        for effect in end_work(session, run_id, row, under_way(session, run_id, row))
    )


def unbegun(session: Session, plan: Plan, run_id: str, rows: Iterable[Hot]) -> frozenset[int]:
    """Steps that wait for an agent and work nowhere. A run that is being stopped sends them to none any more."""
    nos = [row.no for row in rows if row.status == StepStatus.WAITING and plan.at(row.no).type in TYPES]
    return unserved.unbegun(session, run_id, nos) if nos else frozenset()


def is_let_end(plan: Plan, row: Hot, idle: Collection[int], *, spare_running: bool = False) -> bool:
    """Whether a stop waits for a step's end: it runs, here or elsewhere, and is an external commitment.

    idle: what `unbegun` has found.
    """
    node = plan.at(row.no)
    elsewhere = (node.slow or node.calls) and row.no not in idle
    works = row.status == StepStatus.RUNNING or (elsewhere and row.status == StepStatus.WAITING)
    return works and (spare_running or node.lets_end)


def _move(deps: Deps, node: PlanNode, row: Hot, idle: Collection[int]) -> Move:
    """Close a step. It decides nothing: no target was told, and an operator may have it go on later."""
    status = StepStatus(row.status)
    if status in (StepStatus.PENDING, StepStatus.QUEUED):
        return Move(
            no=row.no,
            fence=row.attempt,
            sources=(status,),
            to=StepStatus.SKIPPED,
            event="step.skipped",
        )
    result = None
    if status is not StepStatus.RETRYING:
        elsewhere = node.slow and status is StepStatus.WAITING and row.no not in idle
        cost = claiming.estimate(deps, node) if elsewhere or status is StepStatus.RUNNING else 0
        result = AttemptResult(status="aborted", cost=cost)
    return Move(
        no=row.no,
        fence=row.attempt,
        sources=(status,),
        to=StepStatus.ABORTED,
        event="step.aborted",
        bump=1,
        change=None if result is None else AttemptChange.END,
        result=result,
    )
