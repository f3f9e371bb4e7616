"""What excludes what: each choice of a node as a vertex of its own, and what can be reached only through it.

A node succeeds or fails for good; on success one of its condition and router edges lives or `else` does; of its
routes one is selected. What every way to a node leads through (its dominators) says what must have been chosen
for it to run. Built in one pass over the nodes in topological order, without recursion.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import networkx as nx

from orchestrator.core.dominators import Dominators
from orchestrator.core.plan import Handle
from orchestrator.core.scope import EdgeSpec

ROOT = 0
Group = tuple[int, str]


@dataclass(slots=True)
class Choices:
    """The vertices: 0 is the run, node n is n + 1, choices follow.

    order: the nodes in topological order. visited: all vertices in such an order. tree: their dominators.
    group: of each choice the vertex it is made at and which choice it is; those of a group exclude each other.
    """

    order: tuple[int, ...]
    visited: list[int] = field(default_factory=lambda: [ROOT])
    tree: Dominators = field(default_factory=Dominators)
    group: dict[int, Group] = field(default_factory=dict)

    def made_for(self, node: int) -> dict[Group, int]:
        """The choices that must have been made for a node to run: by group the vertex."""
        made: dict[Group, int] = {}
        vertex = node + 1
        while vertex != ROOT:
            if vertex in self.group:
                made[self.group[vertex]] = vertex
            vertex = self.tree.parent[vertex]
        return made


def exclude(one: Mapping[Group, int], other: Mapping[Group, int]) -> bool:
    """Whether two nodes, by what was chosen for each, can never both run."""
    return any(other.get(group, vertex) != vertex for group, vertex in one.items())


def find_choices(graph: "nx.DiGraph[int]", edges: Iterable[EdgeSpec]) -> Choices:
    """The choices of a graph without cycles, whose edges are these."""
    out: dict[int, list[EdgeSpec]] = {}
    for edge in edges:
        out.setdefault(edge.source, []).append(edge)
    choices = Choices(order=tuple(nx.topological_sort(graph)))
    before: dict[int, list[int]] = {}
    for node in choices.order:
        vertex = node + 1
        _visit(choices, vertex, before.pop(vertex, [ROOT]))
        for edge, origin in _origins(choices, vertex, out.get(node, ())):
            before.setdefault(edge.target + 1, []).append(origin)
    return choices


def _visit(choices: Choices, vertex: int, before: Sequence[int]) -> None:
    choices.tree.add(vertex, before)
    choices.visited.append(vertex)


def _origins(choices: Choices, vertex: int, edges: Sequence[EdgeSpec]) -> list[tuple[EdgeSpec, int]]:
    """For each out-edge the vertex of the choice that makes it live."""

    def choice(at: int, name: str) -> int:
        made = len(choices.order) + 1 + len(choices.group)
        choices.group[made] = (at, name)
        _visit(choices, made, [at])
        return made

    handles = {edge.handle for edge in edges}
    fails = choice(vertex, "end") if Handle.ERROR in handles else vertex
    succeeds = choice(vertex, "end") if handles - {Handle.ERROR} and fails != vertex else vertex
    chosen = rest = succeeds
    if Handle.ELSE in handles:
        chosen, rest = choice(succeeds, "else"), choice(succeeds, "else")
    routes = {edge.route: -1 for edge in edges if edge.handle is Handle.ROUTER}
    for route in routes:
        routes[route] = choice(chosen, "route")
    by_handle = {
        Handle.SOURCE: succeeds,
        Handle.ERROR: fails,
        Handle.CONDITION: chosen,
        Handle.ELSE: rest,
    }
    return [
        (edge, routes[edge.route] if edge.handle is Handle.ROUTER else by_handle[edge.handle])
        for edge in edges
    ]
