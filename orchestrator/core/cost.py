"""What a run may cost at most: the dearest set of nodes that can all run. Source: spec "definition", Cost estimate.

To find the dearest set exactly is as hard as maximum coverage, so a bound is computed that is never too low: what
belongs to one choice counts with it, of choices that exclude each other only the dearest counts. It is exact where
the branches of a choice meet only behind it; a node that hangs on branches of several choices counts whatever
they are. O(E log V).
"""

from collections.abc import Sequence

from orchestrator.core.choices import ROOT, Choices, Group


def dearest(cents: Sequence[int], choices: Choices) -> int:
    """The bound in cents; `cents` by node. Sums up from the leaves of the dominator tree."""
    totals = [0, *cents, *([0] * len(choices.group))]
    best: dict[int, dict[Group, int]] = {}
    for vertex in reversed(choices.visited):
        totals[vertex] += sum(best.pop(vertex, {}).values())
        group = choices.group.get(vertex)
        if group is not None:
            rivals = best.setdefault(group[0], {})
            rivals[group] = max(rivals.get(group, 0), totals[vertex])
        elif vertex != ROOT:
            totals[choices.tree.parent[vertex]] += totals[vertex]
    return totals[ROOT]
