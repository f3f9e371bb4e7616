"""References: every name must exist, and every node named must have had its turn. Source: spec "definition", Values."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import networkx as nx

from orchestrator.core import graph
from orchestrator.core.names import Name, in_expression, in_value
from orchestrator.core.nodetype import FieldKind
from orchestrator.core.pointer import child
from orchestrator.core.report import Code, Report, listed, shown
from orchestrator.core.scope import EdgeSpec, NodeSpec, Scope

_RESOLVED = (FieldKind.STRING, FieldKind.OBJECT, FieldKind.LIST, FieldKind.VALUE, FieldKind.DURATION)
_ROOTS = ("inputs", "var", "run", "env")
_BRANCH_FIELDS: Mapping[str, tuple[str, ...]] = {
    "loop": ("index", "iteration", "item", "total"),
    "parallel": ("index", "currentItem", "branchId", "item", "total"),
}


class References:
    """Collects the nodes that each node, its out-edges and the outputs name; reports names that mean nothing.

    Per node number, as places in the plan: `of_node` for its own fields, mapping, `when` and key; `of_edges`
    for its out-edges; `of_undoing` for its compensation, which may name the node itself; `back` for nodes of a loop's
    body of which it sees what the iteration before gave.
    `outer`: the references of the scope around this body; `base`: the place of the scope's first node.
    """

    def __init__(
        self,
        report: Report,
        scope: Scope,
        env_allow: Collection[str],
        outer: "References | None" = None,
        base: int = 0,
    ) -> None:
        self._report = report
        self._scope = scope
        self._env_allow = env_allow
        self._outer = outer
        self._base = base
        self.of_node: dict[int, set[int]] = defaultdict(set)
        self.of_edges: dict[int, set[int]] = defaultdict(set)
        self.of_undoing: dict[int, set[int]] = defaultdict(set)
        self.of_outputs: set[int] = set()
        self.back: dict[int, set[int]] = defaultdict(set)
        self._asked: dict[tuple[int, int], list[_Asked]] = defaultdict(list)

    def take(self) -> None:
        """Look at all nodes and edges."""
        for node in self._scope.nodes:
            for name, own in self._names(node):
                self._note(self._meant(name, node, env=own), self.of_node[node.no])
            if node.undone_by is not None:
                for name, own in self._names(node.undone_by):
                    place = self._undoing(name, node, env=own)
                    self._note(place, self.of_undoing[node.no])
        for edge in self._scope.edges:
            self._take_edge(edge, self._scope.nodes[edge.source])

    def take_workflow(self, data: Mapping[str, Any]) -> None:
        """Look at the workflow's outputs and its concurrency key."""
        self._take_concurrency(data.get("concurrency"))
        for name in in_value(self._report, "/outputs", data.get("outputs")):
            self._note(self._meant(name, None, env=False), self.of_outputs)

    def take_container(self, node: NodeSpec) -> set[int]:
        """Look at the fields of the body's container that are about a branch that has ended; what they name."""
        named: set[int] = set()
        for field in node.type.fields if node.type is not None else ():
            pointer, value = child(node.pointer, field.name), node.raw.get(field.name)
            if field.kind is FieldKind.BODY_VALUE:
                found = in_value(self._report, pointer, value)
            elif field.kind is FieldKind.BODY_EXPRESSION:
                found = in_expression(self._report, pointer, value, boolean=True)
            else:
                continue
            for name in found:
                self._note(self._meant(name, None, env=False), named)
        return named

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
        """Report the references to nodes that can't have run before; in a loop they have, an iteration ago."""
        for earlier, later in sorted(graph.not_before(found, self._asked)):
            if self._kind() == "loop":
                for asked in self._asked[earlier, later]:
                    asked.by.back[asked.no].add(self._base + earlier)
                continue
            named, node = self._scope.nodes[earlier], self._scope.nodes[later]
            if earlier == later:
                message = (
                    f'"{node.id}" names its own output, which is not there before it ends; name another node'
                )
            else:
                message = f'"{named.id}" can\'t have run before "{node.id}"; no edges lead from it to there'
            self._report.add(self._asked[earlier, later][0].pointer, Code.UNRESOLVED_REFERENCE, message)

    def _names(self, node: NodeSpec) -> Iterable[tuple[Name, bool]]:
        """The names in a node, each with whether it stands where env may."""
        raw, report = node.raw, self._report
        yield from self._own(node)
        for name in in_value(report, child(node.pointer, "input_mapping"), raw.get("input_mapping")):
            yield name, False
        for name in in_value(report, child(node.pointer, "idempotency_key"), raw.get("idempotency_key")):
            yield name, False
        rate = raw.get("rate")
        key = rate.get("key") if isinstance(rate, dict) else None
        for name in in_value(report, f"{node.pointer}/rate/key", key):
            yield name, False
        degrade = raw.get("degrade")
        value = degrade.get("value") if isinstance(degrade, dict) else None
        for name in in_value(report, f"{node.pointer}/degrade/value", value):
            yield name, False
        for name in in_expression(report, child(node.pointer, "when"), raw.get("when"), boolean=True):
            yield name, False

    def _own(self, node: NodeSpec) -> Iterable[tuple[Name, bool]]:
        for field in node.type.fields if node.type is not None else ():
            pointer, value = child(node.pointer, field.name), node.raw.get(field.name)
            if field.kind in _RESOLVED:
                found: Iterable[Name] = in_value(self._report, pointer, value)
            elif field.kind is FieldKind.EXPRESSION:
                routes = node.type is not None and node.type.routes is not None
                found = in_expression(self._report, pointer, value, boolean=routes)
            elif field.kind is FieldKind.CASES and isinstance(value, list):
                found = self._cases(pointer, value)
            else:
                continue
            for name in found:
                yield name, not field.stored

    def _cases(self, pointer: str, cases: list[Any]) -> Iterable[Name]:
        for no, case in enumerate(cases):
            if isinstance(case, dict):
                at = child(child(pointer, no), "when")
                yield from in_expression(self._report, at, case.get("when"), boolean=True)

    def _take_edge(self, edge: EdgeSpec, source: NodeSpec) -> None:
        pointer = child(edge.pointer, "when")
        for name in in_expression(self._report, pointer, edge.when, boolean=True):
            own = self._scope.numbers.get(name.root) == source.no
            place = self._base + source.no if own else self._meant(name, source, env=False)
            self._note(place, self.of_edges[source.no])

    def _undoing(self, name: Name, owner: NodeSpec, *, env: bool) -> int | None:
        """The place of the node that a compensation names: its owner, or what that may name itself."""
        if self._scope.numbers.get(name.root) == owner.no:
            return self._base + owner.no
        return self._meant(name, owner, env=env)

    def _note(self, place: int | None, into: set[int]) -> None:
        if place is not None:
            into.add(place)

    def _meant(self, name: Name, by: NodeSpec | None, *, env: bool) -> int | None:
        """The place of the node that `by` names; None: a name that is no node. What means nothing is reported.

        `by` None: what names it comes after all nodes of this scope.
        """
        scope: References | None = self
        asked = None if by is None else _Asked(by=self, no=by.no, pointer=name.pointer)
        while scope is not None:
            number = scope._scope.numbers.get(name.root)
            if number is not None:
                # A node without an id of its own can't be led to by edges: that is reported already.
                if by is not None and by.owns_id and asked is not None:
                    scope._asked[number, by.no].append(asked)
                return scope._base + number
            by = scope._scope.container
            if asked is None and by is not None and scope._outer is not None:
                asked = _Asked(by=scope._outer, no=by.no, pointer=name.pointer)
            if by is not None and by.id == name.root:
                self._check_scope(name, str(scope._kind()))
                return None
            scope = scope._outer
        wrong = self._why_not(name, env=env)
        if wrong is not None:
            self._report.add(name.pointer, Code.UNRESOLVED_REFERENCE, wrong)
        return None

    def _check_scope(self, name: Name, kind: str) -> None:
        if name.field != kind:
            message = (
                f'"{name.root}" is around this node and has not ended; '
                f"write {name.root}.{kind}.{' or .'.join(_BRANCH_FIELDS[kind])}"
            )
            self._report.add(name.pointer, Code.UNRESOLVED_REFERENCE, message)

    def _kind(self) -> str | None:
        """What this scope is the body of: loop, parallel, or nothing."""
        container = self._scope.container
        return container.type.type if container is not None and container.type is not None else None

    def _kinds(self) -> set[str | None]:
        """What is around this scope's nodes."""
        kinds: set[str | None] = set()
        scope: References | None = self
        while scope is not None:
            kinds.add(scope._kind())
            scope = scope._outer
        return kinds - {None}

    def _why_not(self, name: Name, *, env: bool) -> str | None:
        if name.root == "env":
            return self._why_not_env(name.field, here=env)
        if name.root == "run":
            return None if name.field == "id" else f"run has id only, not {shown(name.field)}; write run.id"
        if name.root in ("inputs", "var"):
            return None
        if name.root in ("item", "index") and self._kinds():
            return None
        if name.root in ("loop", "parallel"):
            if name.root in self._kinds():
                return self._why_not_branch(name)
            return f"there is no {name.root} around this node; {name.root}.* has a value only within its body"
        hint = self._report.hint(name.root, [*_ROOTS, *self._scope.numbers])
        return f"there is nothing named {shown(name.root)}; name a node, inputs, var, env or run{hint}"

    def _why_not_branch(self, name: Name) -> str | None:
        known = _BRANCH_FIELDS[name.root]
        if name.field is None or name.field in known:
            return None
        return f"{name.root} has {listed(known)}, not {shown(name.field)}"

    def _why_not_env(self, field: str | None, *, here: bool) -> str | None:
        if not here:
            return "env may be used in a node's own fields only, where the value is not stored; move it there"
        if field is None:
            return "env must be followed by a name; write env.NAME"
        if field in self._env_allow:
            return None
        known = f"; allowed are {listed(sorted(self._env_allow))}" if self._env_allow else ""
        return f"env.{field} is not allowed here; the operator allows names in ORCHESTRATOR_ENV_ALLOW{known}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """Who names a node: a node of the scope of `by`, and where."""

    by: References
    no: int
    pointer: str


def named_nodes(found: Mapping[int, set[int]], number: int) -> tuple[int, ...]:
    """The nodes named, in the order of the definition."""
    return tuple(sorted(found.get(number, ())))
