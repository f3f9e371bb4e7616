"""What time will bring, and what waits for something else: asked by whoever moves a clock by hand."""

from dataclasses import dataclass
from enum import StrEnum

from models.queries import branches, upcoming
from models.queries.upcoming import StepRow
from models.states import RunStatus, StepStatus
from orchestrator.core.plan import PlanNode
from orchestrator.services.deps import Deps

GRACE = 1.000_001  # seconds by which the sweep `timeouts` lets an attempt outrun its time


class Kind(StrEnum):
    """What a moment brings."""

    RETRY = "retry"
    ROUND = "round"  # of a loop that goes on by itself
    TIMER = "timer"  # the end of a `wait`
    EXPIRY = "expiry"  # of an approval or a signal
    TIMEOUT = "timeout"  # of an attempt or a run


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """`at`: seconds since 1970; of a step, or of a whole run (no path)."""

    kind: Kind
    at: float
    run_id: str
    no: int = 0
    path: str | None = None
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The moments that are known, and whether anything waits for what no time brings: a person, a signal.

    at_work: attempts that a worker has, as (run_id, no, attempt).
    """

    moments: tuple[Moment, ...]
    waits_outside: bool
    at_work: frozenset[tuple[str, int, int]]


def outlook(deps: Deps) -> Outlook:
    """What lies ahead of all open runs."""
    with deps.db.read() as session:
        steps, runs = upcoming.steps(session), upcoming.runs(session)
        nodes = {(row.run_id, row.no): deps.plans.get(session, row.version_id).at(row.no) for row in steps}
    moments: list[Moment] = []
    outside = any(row.status == RunStatus.PAUSED for row in runs)
    for row in steps:
        node = nodes[row.run_id, row.no]
        outside = outside or _waits_outside(row, node)
        moments += _of_step(row, node)
    for run in runs:
        if run.timeout_at is not None and run.stopping is None and run.status != RunStatus.PAUSED:
            at = run.timeout_at.timestamp()
            moments.append(Moment(kind=Kind.TIMEOUT, at=at, run_id=run.id))
    at_work = frozenset((row.run_id, row.no, row.attempt) for row in steps if row.status == StepStatus.RUNNING)
    return Outlook(moments=tuple(moments), waits_outside=outside, at_work=at_work)


def parked(deps: Deps, run_id: str, path: str) -> tuple[int, int] | None:
    """The number and the attempt of a step that waits; None where it does not."""
    with deps.db.read() as session:
        rows = upcoming.steps(session)
    return next(
        (
            (row.no, row.attempt)
            for row in rows
            if row.run_id == run_id and row.path == path and row.status == StepStatus.WAITING
        ),
        None,
    )


def opened(deps: Deps, run_id: str, no: int) -> int:
    """How many branches a container has opened."""
    with deps.db.read() as session:
        row = branches.container(session, run_id, no)
    return 0 if row is None else row.opened


def _of_step(row: StepRow, node: PlanNode) -> list[Moment]:
    found: list[Moment] = []
    named = {"run_id": row.run_id, "no": row.no, "path": row.path, "attempt": row.attempt}
    if row.due_at is not None:
        found.append(Moment(kind=_kind(row, node), at=row.due_at.timestamp(), **named))
    stands_still = row.status != StepStatus.RUNNING and row.run_status == RunStatus.PAUSED
    if row.timeout_at is not None and (not stands_still or row.stopping is not None):
        found.append(Moment(kind=Kind.TIMEOUT, at=row.timeout_at.timestamp() + GRACE, **named))
    return found


def _kind(row: StepRow, node: PlanNode) -> Kind:
    if row.status != StepStatus.WAITING:
        return Kind.RETRY
    if node.body is not None:
        return Kind.ROUND
    return Kind.TIMER if node.type == "wait" else Kind.EXPIRY


def _waits_outside(row: StepRow, node: PlanNode) -> bool:
    """A timer waits for time, a container for its branches, a caller for the run that it called."""
    return row.status == StepStatus.WAITING and not (node.type == "wait" or node.body is not None or node.calls)
