"""What ties a called run to the step that calls it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What ties a called run to the attempt of a step that calls it.

    `budget_run_id`: the run whose budget it draws on, None = its own, where its workflow has one. `paused`: the
    calling run is, so that nothing is to start.
    """

    run_id: str
    step: str
    attempt: int
    detached: bool
    depth: int
    budget_run_id: str | None
    paused: bool


def draws(link: Link | None) -> bool:
    """Whether a run draws on the budget of one above it: then its own limit, if it has one, does not hold."""
    return link is not None and link.budget_run_id is not None


def columns(link: Link | None) -> dict[str, Any]:
    """What a run's row has of it."""
    if link is None:
        return {}
    return {
        "parent_run_id": link.run_id,
        "parent_step": link.step,
        "parent_attempt": link.attempt,
        "detached": link.detached,
        "depth": link.depth,
        "budget_run_id": link.budget_run_id,
    }
