"""What there is to be undone of a run: steps with a compensation that have succeeded, and attempts that did so late.

Source: spec "engine", Compensation and Abort.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy.orm import Session

from models.queries import calls, compensations, resets, steps
from models.queries.compensations import Completed, Undo
from models.states import RunStatus, StepStatus
from orchestrator.core.plan import Plan
from orchestrator.services.deps import Deps

GIVEN_UP = (StepStatus.FAILED, StepStatus.ABORTED, StepStatus.SKIPPED)


def of_run(deps: Deps, session: Session, plan: Plan, run_id: str) -> list[Undo]:
    """The steps that are to be undone and not noted yet."""
    if not plan.undoable:
        return []
    known = compensations.known(session, run_id)
    completed = compensations.completed(session, run_id, len(plan.nodes), plan.undoable)
    found = [each for each in _with_something(deps, session, plan, run_id, completed) if each.no not in known]
    undos = {each.no: Undo(no=each.no, attempt=each.attempt, seq=each.seq) for each in found}
    for seq, path, attempt in compensations.late(session, run_id):
        no = resets.number(session, run_id, path)
        if no is not None and no not in known and is_given_up(session, run_id, no):
            undos[no] = Undo(no=no, attempt=attempt, seq=seq)
    return list(undos.values())


def is_given_up(session: Session, run_id: str, no: int) -> bool:
    """Whether a step has ended without a success."""
    (row,) = steps.hot(session, run_id, [no])
    return row.status in GIVEN_UP


def _with_something(
    deps: Deps, session: Session, plan: Plan, run_id: str, completed: Sequence[Completed]
) -> list[Completed]:
    """Those that there is something to undo of: of a step that called a run, in that run, by the attempt that did."""
    asking = [each for each in completed if _asks(plan, each.no)]
    if not asking:
        return list(completed)
    paths = [each.path for each in asking]
    called, copies = calls.by_steps(session, run_id, paths), compensations.copies(session, run_id, paths)
    found = [each for each in completed if not _asks(plan, each.no)]
    for each in asking:
        attempt = copies.get((each.path, each.attempt), each.attempt)
        below = called.get((each.path, attempt))
        if below is not None and anything(deps, session, below):
            found.append(replace(each, attempt=attempt))
    return found


def _asks(plan: Plan, no: int) -> bool:
    undone_by = plan.at(no).undone_by
    return undone_by is not None and plan.at(undone_by).asks


def anything(deps: Deps, session: Session, run_id: str) -> bool:
    """Whether a run that a step has called successfully has something to undo, as this transaction sees it."""
    status, version_id = calls.standing(session, run_id)
    if status != RunStatus.SUCCESS:
        return status in (RunStatus.COMPENSATING, RunStatus.FAILED)
    return bool(of_run(deps, session, deps.plans.get(session, version_id), run_id))
