"""Lanes: what a queued step waits for its turn in, and how many may go.

A lane is text: the workspace, the kind, the name. Steps of a lane go by rank, then in the order they came.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import TypeVar

NAME_LIMIT = 200
DEFAULT_WINDOW = 256
FACTOR = 4
LEAST = 16


class Kind(StrEnum):
    """What holds a step back."""

    QUEUE = "queue"  # the dispatch window of its queue
    POOL = "pool"  # slots that other steps have taken
    RATE = "rate"  # the limit of a key
    AGENT = "agent"  # an agent to be there, or to have time: of parked steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """`name`: the queue's, the pool's, the resolved key, or the demand for an agent (core.routing)."""

    workspace_id: str
    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.workspace_id}/{self.kind}/{shortened(self.name)}"


def shortened(name: str) -> str:
    """A name that is kept in an index: a long one ends in its hash."""
    if len(name) <= NAME_LIMIT:
        return name
    return f"{name[: NAME_LIMIT - 65]}:{hashlib.sha256(name.encode()).hexdigest()}"


def parse(text: str) -> Lane:
    """The inverse of `str`, but for names that were too long to keep."""
    workspace_id, kind, name = text.split("/", 2)
    return Lane(workspace_id=workspace_id, kind=Kind(kind), name=name)


def window(setting: int | None, slots: int) -> int:
    """How many steps of a workspace and queue may be published and unclaimed, with `slots` consumers seen."""
    if setting is not None:
        return setting
    return max(LEAST, FACTOR * slots) if slots else DEFAULT_WINDOW


def rank(own: int | None, of_run: int) -> int:
    """A step's place: the node's priority, or else the run's; lower ranks go first, higher priorities too."""
    return -(of_run if own is None else own)


def until(nth_last: float | None, now: float, per: float) -> float | None:
    """Seconds until a key takes another step, None when it does now.

    `nth_last`: when the last attempt but (limit - 1) under the key was claimed, None when there are fewer.
    """
    if nth_last is None or nth_last <= now - per:
        return None
    return nth_last + per - now


def fitting(widths: Sequence[int], free: int) -> int:
    """How many steps that want so many slots each fit into `free`, in their order: none overtakes a wide one."""
    return sum(1 for total in accumulate(widths) if total <= free)


T = TypeVar("T")


def in_turn(found: Iterable[tuple[Lane, Sequence[tuple[int, T]]]]) -> list[T]:
    """The steps of several lanes in the order in which they go: by rank, then round robin over workspaces.

    `found`: for each lane its steps with their ranks, in the lane's order.
    """
    turns: Counter[tuple[str, int]] = Counter()
    placed: list[tuple[int, int, T]] = []
    for lane, steps in found:
        for place, step in steps:
            turn = turns[lane.workspace_id, place]
            turns[lane.workspace_id, place] += 1
            placed.append((place, turn, step))
    return [step for _, _, step in sorted(placed, key=lambda item: item[:2])]
