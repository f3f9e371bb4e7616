"""The graph as a whole: cycles, reachability, joins and error ports. Source: spec "definition", Edges, Construction."""

from collections import defaultdict
from collections.abc import Iterator

import networkx as nx

from orchestrator.core import graph
from orchestrator.core.plan import Handle
from orchestrator.core.pointer import child
from orchestrator.core.report import Code, Report, listed
from orchestrator.core.scope import EdgeSpec, NodeSpec, Scope


def check_graph(report: Report, scope: Scope, found: "nx.DiGraph[int]") -> bool:
    """Report cycles, nodes that nothing can reach, joins that can't be met; whether there is no cycle."""
    _check_joins(report, scope)
    _check_error_ports(report, scope)
    if _check_cycles(report, scope, found):
        return False
    _check_reachable(report, scope, found)
    return True


def _check_cycles(report: Report, scope: Scope, found: "nx.DiGraph[int]") -> bool:
    pointers = {(edge.source, edge.target): edge.pointer for edge in reversed(scope.edges)}
    any_ = False
    for cycle in graph.cycles(found):
        any_ = True
        names = [scope.nodes[no].id for no in cycle]
        way = listed([*names, names[0]], 51).replace(", ", " >> ")
        message = f"these nodes wait for each other: {way}; remove one of these edges"
        report.add(pointers[cycle[-1], cycle[0]], Code.CYCLE, message)
    return any_


def _check_joins(report: Report, scope: Scope) -> None:
    ins = defaultdict(int, scope.loose)
    for edge in scope.edges:
        ins[edge.target] += 1
    for node in scope.nodes:
        join = node.raw.get("join")
        least = join.get("at_least") if isinstance(join, dict) else None
        if node.sound and node.owns_id and isinstance(least, int) and least > ins[node.no]:
            message = (
                f"{least} edges are wanted, {ins[node.no]} lead to {node.id}; lower at_least or add edges"
            )
            report.add(child(child(node.pointer, "join"), "at_least"), Code.INVALID_VALUE, message)


def _check_error_ports(report: Report, scope: Scope) -> None:
    ported = {edge.source for edge in scope.edges if edge.handle is Handle.ERROR}
    for node in scope.nodes:
        if node.no in ported and node.raw.get("error_port") is False:
            message = (
                f"an error edge leaves from {node.id}, so its errors have a port; remove error_port: false"
            )
            report.add(child(node.pointer, "error_port"), Code.INVALID_VALUE, message)


def _check_reachable(report: Report, scope: Scope, found: "nx.DiGraph[int]") -> None:
    """Without cycles every node hangs on an entry; what is left are nodes whose every edge is dead for good."""
    living = list(_that_can_live(scope))
    if len(living) == len(scope.edges):
        return
    alive = graph.build(len(scope.nodes), living)
    reached = {no for no, degree in found.in_degree() if degree == 0}
    for no in nx.topological_sort(found):
        if no in reached:
            reached.update(alive.successors(no))
    for node in scope.nodes:
        cut = node.no not in reached and any(before in reached for before in found.predecessors(node.no))
        if cut:
            message = f"no edge to {node.id} can ever live; remove the node, or lead an edge to it that can"
            report.add(node.pointer, Code.UNREACHABLE, message)


def _that_can_live(scope: Scope) -> Iterator[EdgeSpec]:
    routed: dict[int, set[str | None]] = defaultdict(set)
    for edge in scope.edges:
        if edge.handle is Handle.ROUTER:
            routed[edge.source].add(edge.route)
    for edge in scope.edges:
        if edge.handle is not Handle.ELSE or not _always_taken(scope.nodes[edge.source], routed[edge.source]):
            yield edge


def _always_taken(node: NodeSpec, routed: set[str | None]) -> bool:
    """Whether the node, where it succeeds, has selected a route, and each of its routes has an edge."""
    if node.type is None or node.type.routes is None or not node.sound:
        return False
    selects = node.type.type == "condition" or (node.type.type == "router" and "default" in node.raw)
    return selects and routed.issuperset(node.type.routes(node.raw))
