"""How steps that became ready together travel: as a flat group, or as a chord of one level.

Source: spec "engine", Fan-out and Fan-in.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from orchestrator.core.plan import Plan

CHORD_MEMBERS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Node numbers that go out together; `join` is the node that the body of their chord carries on."""

    members: tuple[int, ...]
    join: int | None = None


def group(plan: Plan, ready: Sequence[int], *, chords: bool) -> list[Grouping]:
    """Split a ready set: slow steps that are all in-edges of one join make a chord, the rest one group."""
    left: dict[int, None] = dict.fromkeys(ready)
    groups: list[Grouping] = []
    if chords and len(left) > 1:
        for join in _joins(plan, left):
            members = tuple(dict.fromkeys(edge.source for edge in plan.at(join).ins))
            if all(no in left for no in members):
                groups.append(Grouping(members=members, join=join))
                for no in members:
                    del left[no]
    if left:
        groups.append(Grouping(members=tuple(left)))
    return groups


def _joins(plan: Plan, ready: Collection[int]) -> list[int]:
    """The joins that wait for slow steps of the ready set alone."""
    slow = {no for no in ready if plan.at(no).slow}
    targets = dict.fromkeys(edge.target for no in ready if no in slow for edge in plan.at(no).out)
    found = []
    for target in targets:
        sources = {edge.source for edge in plan.at(target).ins}
        if plan.at(target).need is None and 1 < len(sources) <= CHORD_MEMBERS and sources <= slow:
            found.append(target)
    return found
