"""The graph of a definition's nodes, by number: order, cycles, who can have run before whom.

Nothing here recurses, and nothing walks all paths or cycles (spec "reliability" §4).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import networkx as nx

from orchestrator.core.scope import EdgeSpec

# Bits a pass over the graph carries for each node: what 10,000 nodes take is some 5 MB.
_A_PASS = 4_096


def build(size: int, edges: Iterable[EdgeSpec]) -> "nx.DiGraph[int]":
    """The graph of nodes 0 … size-1; parallel edges are one."""
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(size))
    graph.add_edges_from((edge.source, edge.target) for edge in edges)
    return graph


def cycles(graph: "nx.DiGraph[int]") -> Iterator[list[int]]:
    """One cycle of each knot of cycles, its nodes in order."""
    for knot in sorted(nx.strongly_connected_components(graph), key=min):
        start = min(knot)
        if len(knot) > 1 or graph.has_edge(start, start):
            yield _cycle(graph, start, knot)


def _cycle(graph: "nx.DiGraph[int]", start: int, knot: set[int]) -> list[int]:
    walk, place = [start], {start: 0}
    while True:
        following = min(node for node in graph.successors(walk[-1]) if node in knot)
        if following in place:
            return walk[place[following] :]
        place[following] = len(walk)
        walk.append(following)


def levels(graph: "nx.DiGraph[int]") -> list[list[int]]:
    """The nodes by the longest way from an entry. The graph has no cycle."""
    return [sorted(level) for level in nx.topological_generations(graph)]


def not_before(graph: "nx.DiGraph[int]", pairs: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """Of pairs (earlier, later) those in which no path leads from the first to the second.

    Nodes of one knot of cycles are taken as one, each before the other.
    """
    knots = nx.condensation(graph)
    place: dict[int, int] = knots.graph["mapping"]
    asked: dict[int, list[tuple[int, int]]] = defaultdict(list)
    found: set[tuple[int, int]] = set()
    for earlier, later in pairs:
        if place[earlier] != place[later]:
            asked[place[earlier]].append((earlier, later))
        elif earlier == later and len(knots.nodes[place[earlier]]["members"]) == 1:
            found.add((earlier, later))
    order = list(nx.topological_sort(knots))
    for bits in _passes(asked):
        behind = _behind(knots, order, bits)
        for knot, bit in bits.items():
            found.update(pair for pair in asked[knot] if not behind[place[pair[1]]] & bit)
    return found


def _passes(asked: Iterable[int]) -> Iterator[dict[int, int]]:
    """A bit for each node asked about, as many at a time as go along the edges together."""
    nodes = sorted(asked)
    for start in range(0, len(nodes), _A_PASS):
        yield {node: 1 << no for no, node in enumerate(nodes[start : start + _A_PASS])}


def _behind(graph: "nx.DiGraph[int]", order: Sequence[int], bits: dict[int, int]) -> list[int]:
    """For each node the bits of the nodes from which a path leads to it."""
    behind = [0] * len(order)
    for node in order:
        carried = behind[node] | bits.get(node, 0)
        if carried:
            for following in graph.successors(node):
                behind[following] |= carried
    return behind
