"""A branch counts its open steps: every round that closes or resets some is told to it, in the same transaction.

The run's own count is the transition statement's; a second statement for branches is safe behind its lock.
"""

from sqlalchemy.orm import Session

from models.moves import Move, Transition, Transitioned
from models.queries import branches
from models.states import StepStatus
from orchestrator.core.plan import Plan


def count(session: Session, plan: Plan, transition: Transition, result: Transitioned) -> list[int]:
    """Count the steps of branches that a round closed or opened; the branches that have no open step left."""
    moved = {step.no for step in result.moved}
    opened: dict[int, int] = {}
    for move in transition.moves:
        branch = plan.branch(move.no)
        if _is_undoing(plan, move):
            continue  # branches have ended by then
        if branch and move.opened and move.no in moved:
            opened[branch] = opened.get(branch, 0) + move.opened
    changed = {branch: more for branch, more in opened.items() if more}
    return branches.count_steps(session, transition.run_id, changed) if changed else []


def _is_undoing(plan: Plan, move: Move) -> bool:
    """Whether a move is of a compensation, or of a step that is being undone."""
    undoing = StepStatus.COMPENSATING in (move.to, *move.sources)
    return undoing or (bool(plan.branch(move.no)) and plan.at(move.no).undoes is not None)
