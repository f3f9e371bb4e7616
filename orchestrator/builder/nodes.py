"""Nodes and what joins them: `a >> b >> [c, d] >> e`, `a.on_error >> b`. Source: spec "definition", Edges."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, TypeVar, overload

from models.errors import InvalidError, Problem
from orchestrator.builder.references import Reference, plain
from orchestrator.core.pointer import child

N = TypeVar("N", bound="Node")


class Source:
    """What an edge can start from: a node, or one of its handles."""

    def __init__(self, node: "Node", **edge: str) -> None:
        """`edge`: the fields of its edges beside `from` and `to`."""
        self.node = node
        self.edge = edge

    @overload
    def __rshift__(self, target: N) -> N: ...
    @overload
    def __rshift__(self, target: "Sequence[Node]") -> "Group": ...
    def __rshift__(self, target: "Node | Sequence[Node]") -> "Node | Group":
        """Add the edges to the target, or to each of them; gives the target, so that a chain goes on there."""
        joined: Node | Group = _join((self,), target)
        return joined


class Group(tuple["Node", ...]):
    """Nodes side by side in a chain."""

    __slots__ = ()

    @overload
    def __rshift__(self, target: N) -> N: ...
    @overload
    def __rshift__(self, target: "Sequence[Node]") -> "Group": ...
    def __rshift__(self, target: "Node | Sequence[Node]") -> "Node | Group":
        """Add an edge from each of these to each target."""
        joined: Node | Group = _join(self, target)
        return joined


class Node(Reference, Source):
    """One step of a workflow, made by a method of `Workflow`; as a value it is its output, `{{id}}`."""

    def __init__(self, body: "Body", type: str, id: str, fields: Mapping[str, object]) -> None:
        """Puts itself into the body. `fields` are copied."""
        Reference.__init__(self, id)
        Source.__init__(self, self)
        self.body = body
        self.type = type
        self.id = id
        self.fields: dict[str, Any] = plain(fields)
        self.no = len(body.nodes)
        body.nodes.append(self)

    def __rrshift__(self: N, sources: Iterable[Source]) -> N:
        """`[a, b] >> c`: an edge from each."""
        joined: N = _join(sources, self)
        return joined

    @property
    def on_error(self) -> Source:
        """Its edges live when the node failed for good."""
        return Source(self, handle="error")

    @property
    def otherwise(self) -> Source:
        """Its edges live when the node succeeded and none of its condition and router edges lives."""
        return Source(self, handle="else")

    def when(self, expression: str) -> Source:
        """Its edges live when the node succeeded and the expression (CEL, no braces) holds."""
        return Source(self, when=expression)

    @property
    def pointer(self) -> str:
        """Where the node stands in the definition, as a JSON pointer."""
        return child(f"{self.body.pointer}/nodes", self.no)

    def to_dict(self) -> dict[str, Any]:
        """The node as a definition has it; its fields are not copied."""
        return {"id": self.id, "type": self.type, **self.fields}

    def __repr__(self) -> str:
        return f"<{self.type} {self.id!r}>"


class Choice(Node):
    """A node that selects a route."""

    def route(self, name: str) -> Source:
        """Its edges live when the node succeeded and selected this route."""
        return Source(self, route=name)


class Condition(Choice):
    """A node that routes `true` or `false`."""

    @property
    def true(self) -> Source:
        """Its edges live when the expression holds."""
        return self.route("true")

    @property
    def false(self) -> Source:
        """Its edges live when the expression does not hold."""
        return self.route("false")


class Container(Node):
    """A loop or a parallel: what is made within `with` goes into its body."""

    def __init__(
        self, body: "Body", type: str, id: str, fields: Mapping[str, object], opened: "list[Body]"
    ) -> None:
        """`opened`: the bodies that stand open in the workflow, innermost last."""
        super().__init__(body, type, id, fields)
        self.inner = Body(owner=self)
        self._open = opened

    def __enter__(self) -> Self:
        self._open.append(self.inner)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.pop()

    def to_dict(self) -> dict[str, Any]:
        """The node as a definition has it, with its body."""
        return {**super().to_dict(), "body": self.inner.to_dict()}


class Body:
    """The nodes and edges of one scope: the workflow's own, or those within a container."""

    __slots__ = ("edges", "nodes", "owner")

    def __init__(self, owner: Container | None = None) -> None:
        self.owner = owner
        self.nodes: list[Node] = []
        self.edges: list[dict[str, str]] = []

    @property
    def pointer(self) -> str:
        """Where the body stands in the definition, as a JSON pointer."""
        return "" if self.owner is None else f"{self.owner.pointer}/body"

    def to_dict(self) -> dict[str, Any]:
        """`{nodes, edges}`; without `edges` where there are none."""
        written: dict[str, Any] = {"nodes": [node.to_dict() for node in self.nodes]}
        return {**written, "edges": self.edges} if self.edges else written

    def __str__(self) -> str:
        return "the workflow itself" if self.owner is None else f"the body of {self.owner!r}"


def _join(sources: Iterable[Source], target: Any) -> Any:
    """The edges from each source to each target, in reading order. Gives the node, or the Group, led to."""
    if not isinstance(sources, (list, tuple)) or not isinstance(target, (Node, list, tuple)):
        return NotImplemented
    targets = Group((target,) if isinstance(target, Node) else target)
    if not all(isinstance(source, Source) for source in sources) or not all(isinstance(n, Node) for n in targets):
        return NotImplemented
    if not sources or not targets:
        raise InvalidError("an empty list joins nothing: put a node into it, or leave it out of the chain")
    for source in sources:
        for node in targets:
            _connect(source, node)
    return target if isinstance(target, Node) else targets


def _connect(source: Source, target: Node) -> None:
    """Raises InvalidError where the two stand in different bodies: ids mean nodes of their own body."""
    body, node = source.node.body, source.node
    if target.body is not body:
        where = "in another workflow" if _root(target.body) is not _root(body) else f"in {target.body}"
        message = (
            f"the edge {node.id} >> {target.id} leaves its body: {node!r} stands in {body}, {target!r} {where}; "
            "join nodes of one body, or the loop or parallel itself"
        )
        pointer = child(f"{body.pointer}/edges", len(body.edges))
        raise InvalidError(message, [Problem(pointer=pointer, code="DANGLING_EDGE", message=message)])
    body.edges.append({"from": node.id, "to": target.id, **source.edge})


def _root(body: Body) -> Body:
    while body.owner is not None:
        body = body.owner.body
    return body
