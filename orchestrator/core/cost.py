"""What a run may cost at most: the dearest set of nodes that can all run. Source: spec "definition", Cost estimate.

To find the dearest set exactly is as hard as maximum coverage, so a bound is computed that is never too low: what
belongs to one choice counts with it, of choices that exclude each other only the dearest counts. It is exact where
the branches of a choice meet only behind it; a node that hangs on branches of several choices counts whatever
they are. O(E log V).
"""

from collections.abc import Sequence
from typing import Any

from orchestrator.core.bodies import Nest
from orchestrator.core.choices import ROOT, Choices, Group
from orchestrator.core.scope import NodeSpec

MOST_CENTS = 10**12  # the micro-cents of it fit 64 bits


def of_run(root: Nest) -> tuple[int, bool]:
    """The estimate of a definition without mistakes, in cents, and whether it is only a lower bound.

    A body counts `count` or `max_iterations` times; over a collection, or a count that is known only at run
    time, once: that is a lower bound, as is the estimate of a call whose cost is not given, and MOST_CENTS, for
    bodies within bodies can come to any number.
    """
    totals: dict[int, int] = {}
    bounded = False
    for nest in reversed(root.all()):
        assert nest.choices is not None
        cents = []
        for node in nest.scope.nodes:
            inner = nest.bodies.get(node.no)
            times, known = (1, True) if inner is None else _times(node)
            bounded = bounded or not known or _of_unknown_cost(node)
            cents.append((estimate(node) or 0) + (0 if inner is None else times * totals[id(inner)]))
        total = dearest(cents, nest.choices)
        totals[id(nest)] = min(total, MOST_CENTS)
        bounded = bounded or total > MOST_CENTS
    return totals[id(root)], bounded


def _times(node: NodeSpec) -> tuple[int, bool]:
    """How often a body counts, and whether that is known."""
    given: Any = node.raw.get("count", node.raw.get("max_iterations"))
    known = isinstance(given, int) and "items" not in node.raw
    return (given, True) if known else (1, False)


def _of_unknown_cost(node: NodeSpec) -> bool:
    """What is called may change between this estimate and the run."""
    return node.type is not None and node.type.calls and "estimated_cost_cents" not in node.raw


def estimate(node: NodeSpec) -> int | None:
    """What one attempt of a node is expected to cost, in cents; None when nothing says."""
    given = node.raw.get("estimated_cost_cents")
    if given is not None:
        return int(given)
    return (node.type.cost_cents if node.type is not None else 0) or None


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
