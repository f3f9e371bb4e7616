"""How long a step may take with all its attempts: queueing, work, parked time, waits between attempts.

`total_timeout` of a node. The deadline is a row, by the virtual clock, since waits between attempts follow that; it
is set when the step becomes ready, and stands still while its run is paused.
"""

import time
from collections.abc import Iterable

from sqlalchemy.orm import Session

from models.errors import ErrorCode
from models.queries import deadlines, runs, sweeps
from orchestrator.core.outcome import StepError
from orchestrator.core.plan import PlanNode
from orchestrator.ports import Clock
from orchestrator.services.advancing import Advancing


def begin(advance: Advancing, nos: Iterable[int]) -> None:
    """These steps have become ready."""
    if not advance.plan.has_deadlines:
        return
    for no in nos:
        seconds = advance.plan.at(no).total_timeout
        if seconds is not None:
            deadlines.put(advance.session, advance.info.id, no, _now(advance) + seconds)


def _now(advance: Advancing) -> float:
    """Now, by the virtual clock; while the run is paused the moment of that, from which it goes on."""
    session, clock = advance.session, advance.deps.clock
    if not advance.paused:
        return clock.now()
    paused = sweeps.clock(session) - runs.paused_at(session, advance.info.id).timestamp()
    return clock.now() - paused / clock.real(1.0)


def leaves_time(advance: Advancing, node: PlanNode, wait: float) -> bool:
    """Whether a step may be tried again in so many seconds."""
    if node.total_timeout is None:
        return True
    at = deadlines.of(advance.session, advance.info.id, node.no)
    return at is None or advance.deps.clock.now() + wait < at


def until(session: Session, clock: Clock, run_id: str, node: PlanNode, left: float | None) -> float | None:
    """When an attempt that may take `left` seconds has to end, of `time.monotonic()`; None: when it has ended."""
    at = None if node.total_timeout is None else deadlines.of(session, run_id, node.no)
    if at is not None:
        whole = max(0.0, clock.real(at - clock.now()))
        left = whole if left is None else min(left, whole)
    return None if left is None else time.monotonic() + left


def error(node: PlanNode) -> StepError:
    """What a step fails with at its deadline; nothing is left to try it again in."""
    return StepError.of(ErrorCode.TIMEOUT, f"the step has outrun its total_timeout of {node.total_timeout:g} s")
