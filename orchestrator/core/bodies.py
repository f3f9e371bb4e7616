"""A definition's scopes: the workflow's own nodes, and the body of each container within another.

Every scope is checked like a workflow of its own; its nodes see those of the scopes around it.
Source: spec "definition", Construction, in four stages.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import networkx as nx

from orchestrator.core import graph
from orchestrator.core.choices import Choices, find_choices
from orchestrator.core.document import Limits
from orchestrator.core.nodetype import NodeType
from orchestrator.core.pointer import child
from orchestrator.core.report import Code, Report
from orchestrator.core.scope import NodeSpec, Scope
from orchestrator.core.validate_edges import check_edges
from orchestrator.core.validate_graph import check_graph
from orchestrator.core.validate_nodes import check_nodes
from orchestrator.core.validate_references import References
from orchestrator.core.validate_sessions import check_branches, check_sessions


@dataclass(slots=True, kw_only=True)
class Nest:
    """A scope with its graph and the bodies within it, by the number of their container.

    base: the plan's number of its first node. choices: None where the graph has a cycle.
    """

    scope: Scope
    found: "nx.DiGraph[int]"
    base: int = 0
    choices: Choices | None = None
    names: References | None = None
    bodies: dict[int, "Nest"] = field(default_factory=dict)

    def all(self) -> list["Nest"]:
        """This scope and all within it, each before what it contains, in the order of their bases."""
        found = [self]
        for nest in found:
            found.extend(nest.bodies.values())
        return found

    def nodes(self) -> Iterator[NodeSpec]:
        """The nodes of this scope and of all within it."""
        for nest in self.all():
            yield from nest.scope.nodes


def read(report: Report, data: Mapping[str, Any], types: Mapping[str, NodeType], limits: Limits) -> Nest:
    """Read the nodes and edges of all scopes, and report what is wrong with each by itself."""
    root = _read(report, data, types, limits, Scope(), 0)
    depth: list[tuple[Nest, int]] = [(root, 0)]
    for nest, level in depth:
        for node in nest.scope.nodes:
            body = node.raw.get("body")
            if node.type is None or not node.type.container or not isinstance(body, dict):
                continue
            if level + 1 > limits.max_depth:
                message = (
                    f"bodies are nested {level + 1} deep, {limits.max_depth} are allowed; make it flatter"
                )
                report.add(child(node.pointer, "body"), Code.TOO_DEEP, message)
                continue
            scope = Scope(pointer=child(node.pointer, "body"), container=node)
            base = sum(len(other.scope.nodes) for other, _ in depth)
            inner = _read(report, body, types, limits, scope, base)
            nest.bodies[node.no] = inner
            depth.append((inner, level + 1))
    return root


def _read(
    report: Report,
    data: Mapping[str, Any],
    types: Mapping[str, NodeType],
    limits: Limits,
    scope: Scope,
    base: int,
) -> Nest:
    if "nodes" in data:
        check_nodes(report, data["nodes"], types, limits.max_nodes - base, scope)
    if scope.nodes:
        # Without nodes every edge would seem wrong.
        check_edges(report, data.get("edges", []), scope)
    return Nest(scope=scope, found=graph.build(len(scope.nodes), scope.edges), base=base)


def check(report: Report, root: Nest, data: Mapping[str, Any], env_allow: Collection[str]) -> None:
    """Report what is wrong with the graph of each scope, with its references and its sessions."""
    _check(report, root, References(report, root.scope, env_allow))
    assert root.names is not None
    root.names.take_workflow(data)
    for nest in root.all():
        for no, inner in nest.bodies.items():
            names = References(report, inner.scope, env_allow, outer=nest.names, base=inner.base)
            assert nest.names is not None
            nest.names.of_node[no] |= names.take_container(nest.scope.nodes[no])
            _check(report, inner, names)
    for nest in root.all():
        assert nest.names is not None
        nest.names.check_order(nest.found)
    check_branches(report, _side_by_side(root))


def _side_by_side(root: Nest) -> list[NodeSpec]:
    """The nodes of which two branches may run at once."""
    found = {
        node.pointer: node
        for nest in root.all()
        for no, inner in nest.bodies.items()
        if _runs_at_once(nest.scope.nodes[no])
        for node in inner.nodes()
    }
    return list(found.values())


def _runs_at_once(node: NodeSpec) -> bool:
    """Whether branches of a container may run side by side."""
    return node.raw.get("type") == "parallel" and node.raw.get("max_concurrency") != 1


def _check(report: Report, nest: Nest, names: References) -> None:
    acyclic = check_graph(report, nest.scope, nest.found)
    nest.names = names
    names.take()
    nest.choices = find_choices(nest.found, nest.scope.edges) if acyclic else None
    if nest.choices is not None:
        inner = {no: list(body.nodes()) for no, body in nest.bodies.items()}
        check_sessions(report, nest.scope, nest.found, nest.choices, inner)
