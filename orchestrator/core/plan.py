"""The execution plan: what a version's definition was built into, once, at write time. Pure data.

Steps and nodes are named by number here: the position of the node in `Plan.nodes`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from typing import Any


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
class PlanNode:
    """A node with all that carrying it needs.

    need: live in-edges needed to start, None = every in-edge decided and at least one live.
    refs: nodes whose outputs or errors its own fields, mapping, `when` and key name.
    edge_refs: the same for the `when` of its out-edges.
    lets_end: a running step that is let end when its run is stopped.
    estimate_cents: None = unknown. priority: 0 to 9, higher goes first, None = the run's.
    rate: {key, limit, per: seconds}.
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
    timeout: float | None = None
    retry: Retry = Retry()
    queue: str = "steps"
    priority: int | None = None
    inline: bool = False
    passes: bool = False
    slow: bool = False
    error_port: bool = False
    lets_end: bool = False
    estimate_cents: int | None = None
    max_output_bytes: int | None = None
    on_large_output: str = "fail"
    idempotency_key: str | None = None
    level: int = 0
    pool: str | None = None
    slots: int = 1
    rate: Mapping[str, Any] | None = None

    @property
    def gated(self) -> bool:
        """Whether it may have to wait for a slot or by a rate."""
        return self.pool is not None or self.rate is not None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A version's plan. `outputs` None: the outputs of the terminal nodes, by id. `concurrency` is {key, limit,
    on_limit}."""

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

    def at(self, no: int) -> PlanNode:
        """The node of a step, by the step's number."""
        return self.nodes[no]

    def node(self, node_id: str) -> PlanNode:
        """The node of an id; KeyError when there is none."""
        return self.nodes[self.numbers[node_id]]

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Node number by id."""
        return {node.id: node.no for node in self.nodes}

    @cached_property
    def step_rows(self) -> str:
        """The rows that a run starts with, as JSON text: `[{no, path, undecided, queue}]`."""
        return json.dumps(
            [{"no": n.no, "path": n.id, "undecided": len(n.ins), "queue": n.queue} for n in self.nodes]
        )

    @property
    def terminal(self) -> tuple[PlanNode, ...]:
        """The nodes without an out-edge of a handle other than error."""
        return tuple(n for n in self.nodes if all(e.handle is Handle.ERROR for e in n.out))

    def to_json(self) -> dict[str, Any]:
        """The plan as stored and as `GET …/plan` shows it: `{nodes: {id: {dependencies, dependents, …}},
        start_nodes, levels, …}`."""
        names = [node.id for node in self.nodes]
        rest = _shallow(self)
        del rest["nodes"], rest["start"], rest["levels"]
        nodes: dict[str, Any] = {}
        for node in self.nodes:
            row = _row(node)
            row["dependencies"] = list(dict.fromkeys(names[e.source] for e in node.ins))
            row["dependents"] = list(dict.fromkeys(names[e.target] for e in node.out))
            nodes[node.id] = row
        return {
            "nodes": nodes,
            "start_nodes": [names[no] for no in self.start],
            "levels": [[names[no] for no in level] for level in self.levels],
            **rest,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Plan":
        """The inverse of `to_json`."""
        rest = {k: v for k, v in data.items() if k not in ("nodes", "start_nodes", "levels")}
        numbers = {name: row["no"] for name, row in data["nodes"].items()}
        rest["output_refs"] = tuple(rest["output_refs"])
        return cls(
            nodes=tuple(_node(row) for row in sorted(data["nodes"].values(), key=lambda r: r["no"])),
            start=tuple(numbers[name] for name in data["start_nodes"]),
            levels=tuple(tuple(numbers[name] for name in level) for level in data["levels"]),
            **rest,
        )


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
    kept = {k: v for k, v in row.items() if k not in ("dependencies", "dependents")}
    retry = dict(kept["retry"])
    retry["retry_on"], retry["not_on"] = tuple(retry["retry_on"]), tuple(retry["not_on"])
    kept["retry"] = Retry(**retry)
    kept["out"] = tuple(OutEdge(**{**e, "handle": Handle(e["handle"])}) for e in kept["out"])
    kept["ins"] = tuple(InEdge(**e) for e in kept["ins"])
    kept["refs"], kept["edge_refs"] = tuple(kept["refs"]), tuple(kept["edge_refs"])
    return PlanNode(**kept)
