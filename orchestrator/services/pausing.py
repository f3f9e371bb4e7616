"""A run that is paused with the run that called it, and one that goes on."""

from datetime import timedelta
from typing import Any

from models.errors import InvalidError
from models.queries import deadlines, runs, steps, sweeps
from models.queries.runs import RunState
from models.states import RunStatus
from orchestrator.core import schema
from orchestrator.core.effects import Effect
from orchestrator.services import telling, waking
from orchestrator.services.advance import Advance


def with_caller(advance: Advance) -> list[Effect]:
    """Pause a run since the one that called it is; it goes on with that."""
    told = {"reason": "the run that called it is paused", "with_caller": True}
    runs.move(advance.session, advance.info.id, RunStatus.PAUSED, "run.paused", told)
    advance.effects.extend(telling.align(advance.session, advance.plan, advance.info.id))
    return advance.effects


def go_on(
    advance: Advance, state: RunState, given: dict[str, Any], *, actor: str | None = None
) -> list[Effect]:
    """Let a paused run go on; `given` completes the step that paused it. Raises InvalidError for bad input."""
    session, run_id = advance.session, advance.info.id
    _put_off_timeouts(advance, state)
    runs.move(session, run_id, RunStatus.RUNNING, "run.resumed", actor=actor)
    advance.effects.extend(telling.align(session, advance.plan, run_id))
    for row in steps.paused(session, run_id):
        _check_input(row.expected, given)
        waking.complete(advance, row.no, row.attempt, given)
    advance.queued.update((t.no, t) for t in steps.release(session, run_id))
    return advance.waves()


def _put_off_timeouts(advance: Advance, state: RunState) -> None:
    """The timeouts of the run and of its parked steps have stood still while it was paused."""
    session, run_id = advance.session, advance.info.id
    real = sweeps.clock(session) - runs.paused_at(session, run_id).timestamp()
    steps.put_off_timeouts(session, run_id, real)
    paused = real / advance.deps.clock.real(1.0)
    if advance.plan.has_deadlines:
        deadlines.put_off(session, run_id, paused)
    if state.timeout_at is not None:
        runs.set_timeout(session, run_id, state.timeout_at + timedelta(seconds=paused))


def _check_input(expected: Any, given: dict[str, Any]) -> None:
    problems = schema.problems(expected, given, "/input") if expected is not None else []
    if problems:
        raise InvalidError("the input is refused by the step's schema; the run stays paused", problems)
