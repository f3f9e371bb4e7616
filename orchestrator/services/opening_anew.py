"""Containers that forget their branches, and those in their bodies: when they start they are opened from the start."""

from collections.abc import Sequence

from models.errors import ConflictError
from models.queries import resets, runs, steps
from orchestrator.services.advancing import Advancing

Branch = tuple[int, int, int, int]  # as resets.branches_of has it


def open_anew(advance: Advancing, nos: Sequence[int]) -> None:
    """Let containers forget. Raises ConflictError where steps in them are still let end."""
    session, run_id = advance.session, advance.info.id
    all_, found = _within(advance, nos)
    for number, container, position, open_ in found:
        if open_:
            path = steps.hot(session, run_id, [container])[0].path
            raise ConflictError(
                f"branch {position} of {path} has {open_} steps that are let end (branch {number} of the run); "
                "try again when they have ended"
            )
    for _, path in resets.opened(session, run_id, all_):
        runs.note(session, run_id, "container.reset", {}, step=path)
    if all_:
        resets.forget(session, run_id, all_)


def is_at_work(advance: Advancing, no: int) -> bool:
    """Whether steps in a container, which has ended, are still let end."""
    return any(open_ for *_, open_ in _within(advance, [no])[1])


def _within(advance: Advancing, nos: Sequence[int]) -> tuple[list[int], list[Branch]]:
    """Containers with those in their bodies, and all their branches."""
    plan, level, all_, branches = advance.plan, list(nos), list(nos), list[Branch]()
    while level:
        found = resets.branches_of(advance.session, advance.info.id, level)
        branches += found
        level = [
            plan.step_of(number, member.no)
            for number, container, _, _ in found
            for member in plan.members(container % len(plan.nodes))
            if member.body is not None
        ]
        all_ += level
    return all_, branches
