"""A definition's nodes and edges while it is checked: read as far as they can be, mistakes and all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.core.nodetype import NodeType
from orchestrator.core.plan import Handle


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """A node as written. `no` is its position, `type` None when unknown, `sound` when its fields are right.

    owns_id: no node before it has its id, so that edges that name the id mean this one. undone_by: its compensation,
    which has its number and its id; None: it has none, or {type: none}.
    """

    no: int
    pointer: str
    id: str
    raw: Mapping[str, Any]
    type: NodeType | None
    sound: bool
    owns_id: bool
    undone_by: "NodeSpec | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSpec:
    """An edge between nodes by number, as its handle was understood; `pointer` is where it was written."""

    pointer: str
    source: int
    target: int
    handle: Handle = Handle.SOURCE
    when: str | None = None
    route: str | None = None


@dataclass(slots=True, kw_only=True)
class Scope:
    """Nodes in the definition's order, the number of each id, and the edges that join two known nodes.

    loose: how many edges to a node come from one that does not exist. pointer: of the object that holds the
    nodes and edges, "" for the workflow. container: the node whose body this is.
    """

    pointer: str = ""
    container: NodeSpec | None = None

    nodes: list[NodeSpec] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    edges: list[EdgeSpec] = field(default_factory=list)
    loose: dict[int, int] = field(default_factory=dict)
