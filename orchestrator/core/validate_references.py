"""References: every name must exist, and every node named must have had its turn. Source: spec "definition", Values."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import networkx as nx

from orchestrator.core import graph
from orchestrator.core.names import Name, in_expression, in_value
from orchestrator.core.nodetype import FieldKind
from orchestrator.core.pointer import child
from orchestrator.core.report import Code, Report, listed, shown
from orchestrator.core.scope import EdgeSpec, NodeSpec, Scope

_RESOLVED = (FieldKind.STRING, FieldKind.OBJECT, FieldKind.LIST, FieldKind.VALUE)
_ROOTS = ("inputs", "var", "run", "env")


class References:
    """Collects the nodes that each node, its out-edges and the outputs name; reports names that mean nothing.

    Per node number: `of_node` for its own fields, mapping, `when` and key; `of_edges` for its out-edges.
    """

    def __init__(self, report: Report, scope: Scope, env_allow: Collection[str]) -> None:
        self._report = report
        self._scope = scope
        self._env_allow = env_allow
        self.of_node: dict[int, set[int]] = defaultdict(set)
        self.of_edges: dict[int, set[int]] = defaultdict(set)
        self.of_outputs: set[int] = set()
        self._asked: dict[tuple[int, int], str] = {}

    def take(self, outputs: Any, concurrency: Any = None) -> None:
        """Look at all nodes, edges, the workflow's outputs and its concurrency key."""
        self._take_concurrency(concurrency)
        for node in self._scope.nodes:
            for name, own in self._names(node):
                self._note(self._meant(name, env=own), node, name, self.of_node[node.no])
        for edge in self._scope.edges:
            self._take_edge(edge, self._scope.nodes[edge.source])
        for name in in_value(self._report, "/outputs", outputs):
            number = self._meant(name, env=False)
            if number is not None:
                self.of_outputs.add(number)

    def _take_concurrency(self, concurrency: Any) -> None:
        key = concurrency.get("key") if isinstance(concurrency, dict) else None
        for name in in_value(self._report, "/concurrency/key", key):
            if name.root not in ("inputs", "var"):
                message = (
                    f"{shown(name.root)} has no value yet when a run is triggered; "
                    "a concurrency key is made of inputs and var"
                )
                self._report.add(name.pointer, Code.UNRESOLVED_REFERENCE, message)

    def check_order(self, found: "nx.DiGraph[int]") -> None:
        """Report the references to nodes that can't have run before."""
        for earlier, later in sorted(graph.not_before(found, self._asked)):
            named, node = self._scope.nodes[earlier], self._scope.nodes[later]
            if earlier == later:
                message = (
                    f'"{node.id}" names its own output, which is not there before it ends; name another node'
                )
            else:
                message = f'"{named.id}" can\'t have run before "{node.id}"; no edges lead from it to there'
            self._report.add(self._asked[earlier, later], Code.UNRESOLVED_REFERENCE, message)

    def _names(self, node: NodeSpec) -> Iterable[tuple[Name, bool]]:
        """The names in a node, each with whether it stands in one of its own fields."""
        raw, report = node.raw, self._report
        for name in self._own(node):
            yield name, True
        for name in in_value(report, child(node.pointer, "input_mapping"), raw.get("input_mapping")):
            yield name, False
        for name in in_value(report, child(node.pointer, "idempotency_key"), raw.get("idempotency_key")):
            yield name, False
        rate = raw.get("rate")
        key = rate.get("key") if isinstance(rate, dict) else None
        for name in in_value(report, f"{node.pointer}/rate/key", key):
            yield name, False
        for name in in_expression(report, child(node.pointer, "when"), raw.get("when"), boolean=True):
            yield name, False

    def _own(self, node: NodeSpec) -> Iterable[Name]:
        for field in node.type.fields if node.type is not None else ():
            pointer, value = child(node.pointer, field.name), node.raw.get(field.name)
            if field.kind in _RESOLVED:
                yield from in_value(self._report, pointer, value)
            elif field.kind is FieldKind.EXPRESSION:
                routes = node.type is not None and node.type.routes is not None
                yield from in_expression(self._report, pointer, value, boolean=routes)
            elif field.kind is FieldKind.CASES and isinstance(value, list):
                yield from self._cases(pointer, value)

    def _cases(self, pointer: str, cases: list[Any]) -> Iterable[Name]:
        for no, case in enumerate(cases):
            if isinstance(case, dict):
                at = child(child(pointer, no), "when")
                yield from in_expression(self._report, at, case.get("when"), boolean=True)

    def _take_edge(self, edge: EdgeSpec, source: NodeSpec) -> None:
        pointer = child(edge.pointer, "when")
        for name in in_expression(self._report, pointer, edge.when, boolean=True):
            number = self._meant(name, env=False)
            if number == source.no:
                self.of_edges[source.no].add(source.no)
            else:
                self._note(number, source, name, self.of_edges[source.no])

    def _note(self, number: int | None, node: NodeSpec, name: Name, into: set[int]) -> None:
        if number is not None:
            into.add(number)
            # A node without an id of its own can't be led to by edges: that is reported already.
            if node.owns_id:
                self._asked.setdefault((number, node.no), name.pointer)

    def _meant(self, name: Name, *, env: bool) -> int | None:
        """The number of the node that is named; names that mean nothing here are reported."""
        if name.root in self._scope.numbers:
            return self._scope.numbers[name.root]
        wrong = self._why_not(name, env=env)
        if wrong is not None:
            self._report.add(name.pointer, Code.UNRESOLVED_REFERENCE, wrong)
        return None

    def _why_not(self, name: Name, *, env: bool) -> str | None:
        if name.root == "env":
            return self._why_not_env(name.field, here=env)
        if name.root == "run":
            return None if name.field == "id" else f"run has id only, not {shown(name.field)}; write run.id"
        if name.root in ("inputs", "var"):
            return None
        if name.root in ("loop", "parallel"):
            return f"there is no {name.root} around this node; {name.root}.* has a value only within its body"
        hint = self._report.hint(name.root, [*_ROOTS, *self._scope.numbers])
        return f"there is nothing named {shown(name.root)}; name a node, inputs, var, env or run{hint}"

    def _why_not_env(self, field: str | None, *, here: bool) -> str | None:
        if not here:
            return "env may be used in a node's own fields only; move it there"
        if field is None:
            return "env must be followed by a name; write env.NAME"
        if field in self._env_allow:
            return None
        known = f"; allowed are {listed(sorted(self._env_allow))}" if self._env_allow else ""
        return f"env.{field} is not allowed here; the operator allows names in ORCHESTRATOR_ENV_ALLOW{known}"


def named_nodes(found: Mapping[int, set[int]], number: int) -> tuple[int, ...]:
    """The nodes named, in the order of the definition."""
    return tuple(sorted(found.get(number, ())))
