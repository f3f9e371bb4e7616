"""From a definition without mistakes to its execution plan, in four stages.

path: nodes in the definition's order, entries, levels by the longest way. loop: a pair of sentinels round each
body; node types with a body are refused before, so there is none to place. node: what carrying each node needs.
edge: typed handles, in the definition's order on both sides.

Source: spec "definition", Construction, in four stages.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx

from orchestrator.core import durations, graph
from orchestrator.core.plan import Handle, InEdge, OutEdge, Plan, PlanNode, Retry
from orchestrator.core.scope import EdgeSpec, NodeSpec, Scope
from orchestrator.core.validate_references import References, named_nodes
from orchestrator.core.validate_retry import read_retry


@dataclass(frozen=True, slots=True, kw_only=True)
class _Path:
    start: tuple[int, ...]
    levels: tuple[tuple[int, ...], ...]
    level_of: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edges:
    out: Mapping[int, Sequence[OutEdge]]
    ins: Mapping[int, Sequence[InEdge]]


def construct(
    data: Mapping[str, Any], scope: Scope, found: "nx.DiGraph[int]", names: References, *, short: bool
) -> Plan:
    """The plan of a definition that was found without mistakes; `found` is the graph of its edges."""
    path = _path_stage(found)
    edges = _edge_stage(scope.edges)
    default = read_retry(data["retry"]) if "retry" in data else None
    budget = data.get("budget", {})
    return Plan(
        workflow=data["name"],
        nodes=tuple(_node_stage(node, path, edges, names, default) for node in scope.nodes),
        start=path.start,
        levels=path.levels,
        outputs=data.get("outputs"),
        output_refs=tuple(sorted(names.of_outputs)),
        inputs_schema=data.get("inputs"),
        variables=data.get("variables", {}),
        labels=data.get("labels", {}),
        on_failure=data.get("on_failure", "fail_fast"),
        timeout=durations.seconds(data.get("timeout")),
        budget_cents=budget.get("limit_cents"),
        on_exceeded=budget.get("on_exceeded", "abort"),
        short=short,
        concurrency={"on_limit": "queue", **data["concurrency"]} if "concurrency" in data else None,
    )


def _path_stage(found: "nx.DiGraph[int]") -> _Path:
    levels = graph.levels(found)
    return _Path(
        start=tuple(levels[0]),
        levels=tuple(tuple(level) for level in levels),
        level_of={no: depth for depth, level in enumerate(levels) for no in level},
    )


def _edge_stage(edges: Sequence[EdgeSpec]) -> _Edges:
    out: dict[int, list[OutEdge]] = defaultdict(list)
    ins: dict[int, list[InEdge]] = defaultdict(list)
    for edge in edges:
        ins[edge.target].append(InEdge(source=edge.source, index=len(out[edge.source])))
        out[edge.source].append(
            OutEdge(target=edge.target, handle=edge.handle, when=edge.when, route=edge.route)
        )
    return _Edges(out=out, ins=ins)


def _node_stage(
    node: NodeSpec, path: _Path, edges: _Edges, names: References, default: Retry | None
) -> PlanNode:
    raw, kind = node.raw, node.type
    assert kind is not None
    out, ins = tuple(edges.out.get(node.no, ())), tuple(edges.ins.get(node.no, ()))
    return PlanNode(
        no=node.no,
        id=node.id,
        type=kind.type,
        name=raw.get("name"),
        fields={field.name: raw[field.name] for field in kind.fields if field.name in raw},
        input_mapping=raw.get("input_mapping"),
        when=raw.get("when"),
        need=_need(raw.get("join", "all")) if ins else None,
        out=out,
        ins=ins,
        refs=named_nodes(names.of_node, node.no),
        edge_refs=named_nodes(names.of_edges, node.no),
        timeout=durations.seconds(raw.get("timeout")),
        retry=read_retry(raw["retry"], default) if "retry" in raw else default or Retry(),
        queue=raw.get("queue", kind.queue),
        priority=raw.get("priority"),
        inline=kind.inline,
        passes=kind.passes,
        slow=kind.slow,
        error_port=raw.get("error_port", False) or any(edge.handle is Handle.ERROR for edge in out),
        lets_end=raw.get("side_effects") == "external" or "compensate" in raw,
        estimate_cents=estimate(node),
        max_output_bytes=raw.get("max_output_bytes"),
        on_large_output=raw.get("on_large_output", "fail"),
        idempotency_key=raw.get("idempotency_key"),
        level=path.level_of[node.no],
        pool=raw.get("pool"),
        slots=raw.get("slots", 1),
        rate=_rate(raw["rate"]) if "rate" in raw else None,
    )


def _rate(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {"key": raw["key"], "limit": raw["limit"], "per": durations.seconds(raw["per"])}


def _need(join: str | Mapping[str, int]) -> int | None:
    if isinstance(join, str):
        return 1 if join == "any" else None
    return join["at_least"]


def estimate(node: NodeSpec) -> int | None:
    """What one attempt of a node is expected to cost, in cents; None when nothing says."""
    given = node.raw.get("estimated_cost_cents")
    if given is not None:
        return int(given)
    return (node.type.cost_cents if node.type is not None else 0) or None
