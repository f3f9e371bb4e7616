"""The execution plan: what a version's definition was built into, once, at write time. Pure data.

Steps and nodes are named by number here: the position of the node in `Plan.nodes`.
"""

import json
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Any, Self


class Handle(StrEnum):
    """On what an edge's life depends (spec "definition", Edges)."""

    SOURCE = "source"
    ERROR = "error"
    CONDITION = "condition"
    ROUTER = "router"
    ELSE = "else"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """A retry policy; durations in seconds. `condition` is CEL over `error`."""

    max_attempts: int = 1
    backoff: str = "exponential"  # exponential | linear | constant
    initial: float = 1.0
    multiplier: float = 2.0
    max: float = 300.0
    jitter: float = 0.2
    retry_on: tuple[str, ...] = ()
    not_on: tuple[str, ...] = ()
    policy: str = "always"  # always | on_failure | on_error | on_transient_error | never
    condition: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutEdge:
    """An out-edge of a node, in plan order."""

    target: int
    handle: Handle = Handle.SOURCE
    when: str | None = None
    route: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InEdge:
    """An in-edge of a node, in the order of the definition's edges; `index` is its place among the source's
    out-edges."""

    source: int
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The template of a container's branches: the plan's nodes from `first` on, `size` of them.

    `start` and `levels` are numbers of plan nodes; a START and an END stand round them: the branch's row,
    which is written when a branch starts and decided when its last step has ended.
    """

    first: int
    size: int
    start: tuple[int, ...]
    levels: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanNode:
    """A node with all that carrying it needs.

    need: live in-edges needed to start, None = every in-edge decided and at least one live.
    refs: nodes whose outputs or errors its own fields, mapping, `when` and key name, as numbers of plan nodes.
    edge_refs: the same for the `when` of its out-edges. back: of both, those in the body of a loop that it sees
    as the iteration before left them. scope: the container in whose body it is; body: its own, of a container.
    calls: its attempts wait for a run that they call, and cost what that costs.
    lets_end: a running step that is let end when its run is stopped.
    undone_by: its compensation; undoes: of a compensation, its owner. A compensation has no edges and a row only once
    it begins. asks: it has the run that its owner called undo itself.
    estimate_cents: None = unknown. priority: 0 to 9, higher goes first, None = the run's.
    rate: {key, limit, per: seconds}. total_timeout: seconds that the step may take with all its attempts.
    heartbeat: seconds that its handler may be silent. degrade: {use: last_success, max_age: seconds or None} or
    {value}.
    """

    no: int
    id: str
    type: str
    name: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    input_mapping: Mapping[str, Any] | None = None
    when: str | None = None
    need: int | None = None
    out: tuple[OutEdge, ...] = ()
    ins: tuple[InEdge, ...] = ()
    refs: tuple[int, ...] = ()
    edge_refs: tuple[int, ...] = ()
    back: tuple[int, ...] = ()
    scope: int | None = None
    body: Body | None = None
    timeout: float | None = None
    retry: Retry = Retry()
    queue: str = "steps"
    priority: int | None = None
    inline: bool = False
    passes: bool = False
    calls: bool = False
    slow: bool = False
    error_port: bool = False
    lets_end: bool = False
    estimate_cents: int | None = None
    max_output_bytes: int | None = None
    on_large_output: str = "fail"
    retain_output: bool = False
    idempotency_key: str | None = None
    level: int = 0
    pool: str | None = None
    slots: int = 1
    rate: Mapping[str, Any] | None = None
    total_timeout: float | None = None
    heartbeat: float | None = None
    degrade: Mapping[str, Any] | None = None
    undoes: int | None = None
    undone_by: int | None = None
    asks: bool = False

    @property
    def evaluated(self) -> bool:
        """Whether it is evaluated, or its `when` is, in the transaction in which it becomes ready."""
        return self.inline or self.when is not None

    @property
    def gated(self) -> bool:
        """Whether it may have to wait for a slot or by a rate."""
        return self.pool is not None or self.rate is not None

    def shifted(self, by: int) -> "PlanNode":
        """The node as a step of a branch: its own number and those of its neighbours, `by` further on."""
        return replace(
            self,
            no=self.no + by,
            out=tuple(replace(edge, target=edge.target + by) for edge in self.out),
            ins=tuple(replace(edge, source=edge.source + by) for edge in self.ins),
            undoes=None if self.undoes is None else self.undoes + by,
            undone_by=None if self.undone_by is None else self.undone_by + by,
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A version's plan. `outputs` None: the outputs of the terminal nodes, by id. `concurrency` is {key, limit,
    on_limit}.

    `nodes` holds those of bodies too, behind the workflow's own, and behind all of them the compensations. The steps
    of a branch are numbered branch × len(nodes) + the node's number; the run's own steps have their node's number
    (branch 0).
    """

    workflow: str
    nodes: tuple[PlanNode, ...]
    start: tuple[int, ...]
    levels: tuple[tuple[int, ...], ...]
    outputs: Any = None
    output_refs: tuple[int, ...] = ()
    inputs_schema: Any = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    on_failure: str = "fail_fast"
    timeout: float | None = None
    budget_cents: int | None = None
    on_exceeded: str = "abort"
    short: bool = False
    concurrency: Mapping[str, Any] | None = None
    queue_timeout: float | None = None

    def at(self, no: int) -> PlanNode:
        """The node of a step, by the step's number; of a step in a branch, as that branch's."""
        return self.nodes[no] if no < len(self.nodes) else self._in_branch(no)

    @cached_property
    def _in_branch(self) -> Callable[[int], PlanNode]:
        size = len(self.nodes)
        return lru_cache(maxsize=8_192)(lambda no: self.nodes[no % size].shifted(no - no % size))

    def needs(self, node: PlanNode) -> tuple[int, ...]:
        """The steps whose rows the body of one of the run's own steps reads: its sources, and those that it names."""
        sources = [edge.source for edge in node.ins] if node.need is None else []
        named = (no for no in (*node.refs, *node.edge_refs) if self.nodes[no].scope is None)
        return tuple(no for no in dict.fromkeys((*sources, *named)) if no != node.no)

    def place_of(self, path: str) -> int | None:
        """The number of the node of a step's path, such as `each[3]/summarise`; None when there is none."""
        place: int | None = None
        for part in path.split("/"):
            if place is not None and self.nodes[place].body is None:
                return None
            place = self.numbers_in[place].get(part.partition("[")[0])
            if place is None:
                return None
        return place

    def branch(self, no: int) -> int:
        """The branch that a step belongs to; 0: the run itself."""
        return no // len(self.nodes)

    def step_of(self, branch: int, place: int) -> int:
        """The number of a node's step in a branch."""
        return branch * len(self.nodes) + place

    def outermost(self, no: int) -> int:
        """The run's own step that a step is, or is in the body of."""
        node = self.nodes[no % len(self.nodes)]
        while node.scope is not None:
            node = self.nodes[node.scope]
        return node.no

    def members(self, scope: int | None) -> tuple[PlanNode, ...]:
        """The nodes of the workflow itself (None), or of the body of a container, by the container's number."""
        if scope is None:
            return self.nodes[: self.width]
        body = self.nodes[scope].body
        assert body is not None
        return self.nodes[body.first : body.first + body.size]

    @cached_property
    def width(self) -> int:
        """How many nodes the workflow itself has, without those of bodies."""
        return sum(node.scope is None for node in self.nodes[: self.forward])

    @cached_property
    def forward(self) -> int:
        """How many nodes there are without compensations; those have the numbers from here on."""
        return sum(node.undoes is None for node in self.nodes)

    @cached_property
    def undoable(self) -> tuple[int, ...]:
        """The nodes that have a compensation."""
        return tuple(node.no for node in self.nodes if node.undone_by is not None)

    @cached_property
    def numbers_in(self) -> Mapping[int | None, Mapping[str, int]]:
        """Node number by scope and id."""
        found: dict[int | None, dict[str, int]] = {}
        for node in self.nodes[: self.forward]:
            found.setdefault(node.scope, {})[node.id] = node.no
        return found

    def node(self, node_id: str) -> PlanNode:
        """The node of an id; KeyError when there is none."""
        return self.nodes[self.numbers[node_id]]

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Number of each of the workflow's own nodes by id."""
        return {node.id: node.no for node in self.members(None)}

    @cached_property
    def step_rows(self) -> str:
        """The rows of a run that has not started, as JSON text: `[{no, path, undecided, live, queue}]`."""
        return self._rows(())

    @cached_property
    def started_rows(self) -> str:
        """The same of a run as it starts: the `queued` have their live edge out of nowhere."""
        return self._rows({node.no for node in self.queued})

    @cached_property
    def queued(self) -> tuple[PlanNode, ...]:
        """The entries that are queued when a run starts; the others are evaluated then."""
        entries = (self.nodes[no] for no in sorted(self.start))
        return tuple(node for node in entries if not node.evaluated)

    def _rows(self, live: Container[int]) -> str:
        return json.dumps(
            [
                {"no": n.no, "path": n.id, "undecided": len(n.ins), "live": int(n.no in live), "queue": n.queue}
                for n in self.members(None)
            ]
        )

    @cached_property
    def has_deadlines(self) -> bool:
        """Whether any step has a `total_timeout`."""
        return any(node.total_timeout is not None for node in self.nodes)

    @cached_property
    def calls(self) -> bool:
        """Whether any step calls another run."""
        return any(node.calls for node in self.nodes)

    @cached_property
    def agents(self) -> frozenset[str]:
        """The agents that nodes name literally, in lower case."""
        named = (node.fields.get("agent") for node in self.nodes if node.type == "agent")
        return frozenset(name.lower() for name in named if isinstance(name, str) and "{{" not in name)

    @property
    def terminal(self) -> tuple[PlanNode, ...]:
        """The workflow's own nodes without an out-edge of a handle other than error."""
        return self.terminal_of(None)

    @cached_property
    def ends_by_one(self) -> bool:
        """Whether a single node of the workflow's own is terminal: its end is the run's."""
        return len(self.terminal_of(None)) == 1

    def terminal_of(self, scope: int | None) -> tuple[PlanNode, ...]:
        """The nodes of a scope without an out-edge of a handle other than error."""
        return tuple(n for n in self.members(scope) if all(e.handle is Handle.ERROR for e in n.out))

    def to_json(self) -> dict[str, Any]:
        """The plan as stored and as `GET …/plan` shows it: `{nodes: {id: {dependencies, dependents, …}},
        start_nodes, levels, …}`, a container's row with a `body` of the same kind."""
        rest = _shallow(self)
        del rest["nodes"], rest["start"], rest["levels"]
        return {**self._scope(None, self.start, self.levels), **rest}

    def _scope(
        self, scope: int | None, start: tuple[int, ...], levels: tuple[tuple[int, ...], ...]
    ) -> dict[str, Any]:
        names = [node.id for node in self.nodes]
        nodes: dict[str, Any] = {}
        for node in self.members(scope):
            row = _row(node)
            if node.body is not None:
                row["body"] = self._scope(node.no, node.body.start, node.body.levels)
            if node.undone_by is not None:
                row["compensation"] = _row(self.nodes[node.undone_by])
            row["dependencies"] = list(dict.fromkeys(names[e.source] for e in node.ins))
            row["dependents"] = list(dict.fromkeys(names[e.target] for e in node.out))
            nodes[node.id] = row
        return {
            "nodes": nodes,
            "start_nodes": [names[no] for no in start],
            "levels": [[names[no] for no in level] for level in levels],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        rest = {k: v for k, v in data.items() if k not in ("nodes", "start_nodes", "levels")}
        rest["output_refs"] = tuple(rest["output_refs"])
        nodes: list[PlanNode] = []
        _collect(data, nodes)
        start, levels = _ends(data)
        return cls(nodes=tuple(sorted(nodes, key=lambda node: node.no)), start=start, levels=levels, **rest)


def _collect(data: Mapping[str, Any], into: list[PlanNode]) -> None:
    """The nodes of a scope and of the bodies in it; bodies are not deeper than the stack."""
    for row in data["nodes"].values():
        into.append(_node(row))
        if "compensation" in row:
            into.append(_node(row["compensation"]))
        if row["body"] is not None:
            _collect(row["body"], into)


def _ends(data: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    numbers = {name: row["no"] for name, row in data["nodes"].items()}
    start = tuple(numbers[name] for name in data["start_nodes"])
    return start, tuple(tuple(numbers[name] for name in level) for level in data["levels"])


def _body(data: Mapping[str, Any]) -> Body:
    start, levels = _ends(data)
    first = min(row["no"] for row in data["nodes"].values())
    return Body(first=first, size=len(data["nodes"]), start=start, levels=levels)


def _shallow(item: Any) -> dict[str, Any]:
    # asdict copies all that is below, which takes seconds for 10,000 nodes.
    return {kept.name: getattr(item, kept.name) for kept in fields(item)}


def _row(node: PlanNode) -> dict[str, Any]:
    row = _shallow(node)
    row["retry"] = _shallow(node.retry)
    row["out"] = [_shallow(edge) for edge in node.out]
    row["ins"] = [_shallow(edge) for edge in node.ins]
    return row


def _node(row: Mapping[str, Any]) -> PlanNode:
    kept = {k: v for k, v in row.items() if k not in ("dependencies", "dependents", "compensation")}
    retry = dict(kept["retry"])
    retry["retry_on"], retry["not_on"] = tuple(retry["retry_on"]), tuple(retry["not_on"])
    kept["retry"] = Retry(**retry)
    kept["out"] = tuple(OutEdge(**{**e, "handle": Handle(e["handle"])}) for e in kept["out"])
    kept["ins"] = tuple(InEdge(**e) for e in kept["ins"])
    for name in ("refs", "edge_refs", "back"):
        kept[name] = tuple(kept[name])
    kept["body"] = None if kept["body"] is None else _body(kept["body"])
    return PlanNode(**kept)
