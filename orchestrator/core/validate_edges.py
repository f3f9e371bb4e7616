"""Edges: chains spelt out, handles, conditions and routes. Source: spec "definition", Edges."""

from collections.abc import Mapping
from typing import Any

from orchestrator.core import chains
from orchestrator.core.fields import Check, anything, choice, is_a, take_fields, text
from orchestrator.core.plan import Handle
from orchestrator.core.pointer import child
from orchestrator.core.report import Code, Report, listed, shown
from orchestrator.core.scope import EdgeSpec, NodeSpec, Scope

# Two groups of 5,000 ids in a chain would be 25 million edges.
MAX_EDGES = 100_000
_FIELDS: Mapping[str, Check] = {
    "from": text(64),
    "to": text(64),
    "handle": choice(*(handle.value for handle in Handle)),
    "when": text(4_096),
    "route": anything,
}


def check_edges(report: Report, value: Any, scope: Scope) -> None:
    """Report what is wrong with the edges, each by itself; those that join two known nodes go to `scope.edges`.

    `fallback` of a node is an error edge behind all others, unless such an edge is written out.
    """
    reader = _Edges(report, scope)
    at = child(scope.pointer, "edges")
    if is_a(report, at, value, list):
        for no, raw in enumerate(value):
            reader.take(child(at, no), raw)
    for node in scope.nodes:
        reader.take_fallback(node)


class _Edges:
    def __init__(self, report: Report, scope: Scope) -> None:
        self._report = report
        self._scope = scope
        self._seen: dict[tuple[Any, ...], str] = {}

    def take(self, pointer: str, raw: Any) -> None:
        if isinstance(raw, str):
            self._take_chain(pointer, raw)
        elif is_a(self._report, pointer, raw, str, dict):
            before = self._report.count
            take_fields(self._report, pointer, raw, _FIELDS, ("from", "to"), what="an edge")
            ends = self._ends(pointer, raw)
            if ends is not None and self._report.count == before:
                self._take_edge(pointer, raw, *ends)
            elif ends is not None:
                self._assume(pointer, *ends)

    def take_fallback(self, node: NodeSpec) -> None:
        name = node.raw.get("fallback")
        if not isinstance(name, str) or not node.owns_id:
            return
        pointer = child(node.pointer, "fallback")
        target = self._number(pointer, name)
        if target is not None and (node.no, target, Handle.ERROR, None, None) not in self._seen:
            edge = EdgeSpec(pointer=pointer, source=node.no, target=target, handle=Handle.ERROR)
            self._put(edge)

    def _take_chain(self, pointer: str, text: str) -> None:
        unknown: set[str] = set()
        try:
            for pair in chains.links(text):
                if len(self._scope.edges) >= MAX_EDGES:
                    message = f"there are more than {MAX_EDGES} edges; put a noop node between the groups"
                    self._report.add(pointer, Code.TOO_LARGE, message)
                    return
                self._take_link(pointer, pair, unknown)
        except ValueError as error:
            self._report.add(pointer, Code.INVALID_VALUE, f"this chain can't be taken: {error}")

    def _take_link(self, pointer: str, pair: tuple[str, str], unknown: set[str]) -> None:
        source, target = (self._number(pointer, name, unknown) for name in pair)
        if source is not None and target is not None:
            self._put(EdgeSpec(pointer=pointer, source=source, target=target))
        elif target is not None:
            self._loosen(target)

    def _ends(self, pointer: str, raw: Mapping[str, Any]) -> tuple[int, int] | None:
        found = [
            self._number(child(pointer, key), raw[key]) if isinstance(raw.get(key), str) else None
            for key in ("from", "to")
        ]
        if found[0] is None and found[1] is not None:
            self._loosen(found[1])
        return None if found[0] is None or found[1] is None else (found[0], found[1])

    def _loosen(self, target: int) -> None:
        self._scope.loose[target] = self._scope.loose.get(target, 0) + 1

    def _number(self, pointer: str, name: str, told: set[str] | None = None) -> int | None:
        number = self._scope.numbers.get(name)
        if number is None and name.strip() and (told is None or name not in told):
            if told is not None:
                told.add(name)
            hint = self._report.hint(name, self._scope.numbers)
            message = f"there is no node {shown(name)}; add it or name one that exists{hint}"
            self._report.add(pointer, Code.DANGLING_EDGE, message)
        return number

    def _take_edge(self, pointer: str, raw: Mapping[str, Any], source: int, target: int) -> None:
        handle = Handle(raw.get("handle") or self._implied(raw))
        before = self._report.count
        when, route = raw.get("when"), raw.get("route")
        self._only_with(pointer, raw, handle, Handle.CONDITION, "when")
        self._only_with(pointer, raw, handle, Handle.ROUTER, "route")
        if handle is Handle.ROUTER and "route" in raw:
            route = self._route(child(pointer, "route"), route, self._scope.nodes[source])
        if self._report.count > before:
            self._assume(pointer, source, target)
            return
        self._put(
            EdgeSpec(pointer=pointer, source=source, target=target, handle=handle, when=when, route=route)
        )

    def _assume(self, pointer: str, source: int, target: int) -> None:
        """Take a wrong edge as a plain one, so that its mistake makes no others behind it."""
        self._scope.edges.append(EdgeSpec(pointer=pointer, source=source, target=target))

    def _implied(self, raw: Mapping[str, Any]) -> Handle:
        if "when" in raw:
            return Handle.CONDITION
        return Handle.ROUTER if "route" in raw else Handle.SOURCE

    def _only_with(
        self, pointer: str, raw: Mapping[str, Any], handle: Handle, wanted: Handle, key: str
    ) -> None:
        at = child(pointer, key)
        if handle is wanted and key not in raw:
            message = f"an edge of handle {handle.value} needs the field {key}; add it"
            self._report.add(at, Code.MISSING_FIELD, message)
        elif handle is not wanted and key in raw:
            message = f"an edge of handle {handle.value} takes no {key}; remove it, or make the handle {wanted.value}"
            self._report.add(at, Code.INVALID_VALUE, message)

    def _route(self, pointer: str, value: Any, source: NodeSpec) -> str | None:
        """The route of an edge as a string; one that the source can't select is reported."""
        if isinstance(value, bool):
            value = "true" if value else "false"
        if not is_a(self._report, pointer, value, str):
            return None
        if source.type is None or not source.sound:
            return str(value)
        if source.type.routes is None:
            message = (
                f'"{source.id}" is of type {source.type.type}, which selects no route; use another handle'
            )
            self._report.add(pointer, Code.INVALID_VALUE, message)
            return None
        routes = source.type.routes(source.raw)
        if value not in routes:
            hint = self._report.hint(value, routes)
            message = f'"{source.id}" has no route {shown(value)}; it has {listed(routes)}{hint}'
            self._report.add(pointer, Code.INVALID_VALUE, message)
        return str(value)

    def _put(self, edge: EdgeSpec) -> None:
        key = (edge.source, edge.target, edge.handle, edge.when, edge.route)
        if key in self._seen:
            names = [self._scope.nodes[no].id for no in (edge.source, edge.target)]
            message = f"the edge {names[0]} >> {names[1]} is there twice, at {self._seen[key]} too; keep one"
            self._report.add(edge.pointer, Code.INVALID_VALUE, message)
            return
        self._seen[key] = edge.pointer
        self._scope.edges.append(edge)
