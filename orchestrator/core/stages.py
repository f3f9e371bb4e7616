"""From a definition without mistakes to its execution plan, in four stages.

path: nodes in the definition's order, entries, levels by the longest way, for each scope. loop: each body stands
once, behind the nodes around it, between a START and an END that every branch has as its row. node: what carrying
each node needs. edge: typed handles, in the definition's order on both sides.

Source: spec "definition", Construction, in four stages.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.core import compensations, durations, graph
from orchestrator.core.bodies import Nest
from orchestrator.core.cost import estimate
from orchestrator.core.node_fields import own_fields, queue_of, rate_of, retry_of, timeout_of
from orchestrator.core.plan import Body, Handle, InEdge, OutEdge, Plan, PlanNode, Retry
from orchestrator.core.scope import NodeSpec
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


def construct(data: Mapping[str, Any], root: Nest, *, short: bool) -> Plan:
    """The plan of a definition that was found without mistakes."""
    default = read_retry(data["retry"]) if "retry" in data else None
    budget = data.get("budget", {})
    assert root.names is not None
    path = _path_stage(root)
    return Plan(
        workflow=data["name"],
        nodes=_all_nodes(root, default),
        start=path.start,
        levels=path.levels,
        outputs=data.get("outputs"),
        output_refs=tuple(sorted(root.names.of_outputs)),
        inputs_schema=data.get("inputs"),
        variables=data.get("variables", {}),
        labels=data.get("labels", {}),
        on_failure=data.get("on_failure", "fail_fast"),
        timeout=durations.seconds(data.get("timeout")),
        budget_cents=budget.get("limit_cents"),
        on_exceeded=budget.get("on_exceeded", "abort"),
        short=short,
        concurrency={"on_limit": "queue", **data["concurrency"]} if "concurrency" in data else None,
        queue_timeout=durations.seconds(data.get("queue_timeout")),
    )


def _all_nodes(root: Nest, default: Retry | None) -> tuple[PlanNode, ...]:
    """The nodes of all scopes, and behind them the compensations."""
    nests = _loop_stage(root)
    nodes = [node for nest, scope in nests for node in _nodes(nest, scope, default)]
    for nest, _ in nests:
        assert nest.names is not None
        for node in nest.scope.nodes:
            owner = nodes[nest.base + node.no]
            found = compensations.of(node, owner, nest.names, len(nodes), default)
            if found is not None:
                nodes[owner.no] = replace(owner, undone_by=found.no)
                nodes.append(found)
    return tuple(nodes)


def _path_stage(nest: Nest) -> _Path:
    levels = [[nest.base + no for no in level] for level in graph.levels(nest.found)]
    return _Path(
        start=tuple(levels[0]),
        levels=tuple(tuple(level) for level in levels),
        level_of={no: depth for depth, level in enumerate(levels) for no in level},
    )


def _loop_stage(root: Nest) -> list[tuple[Nest, int | None]]:
    """Each scope with the place of its container, in the order in which the plan lists their nodes."""
    around = {id(inner): nest.base + no for nest in root.all() for no, inner in nest.bodies.items()}
    return [(nest, around.get(id(nest))) for nest in root.all()]


def _nodes(nest: Nest, scope: int | None, default: Retry | None) -> Iterator[PlanNode]:
    path, edges = _path_stage(nest), _edge_stage(nest)
    assert nest.names is not None
    for node in nest.scope.nodes:
        inner = nest.bodies.get(node.no)
        made = _node_stage(node, nest.base, path, edges, nest.names, default)
        yield replace(made, scope=scope, body=None if inner is None else _body(inner))


def _body(inner: Nest) -> Body:
    path = _path_stage(inner)
    return Body(first=inner.base, size=len(inner.scope.nodes), start=path.start, levels=path.levels)


def _edge_stage(nest: Nest) -> _Edges:
    out: dict[int, list[OutEdge]] = defaultdict(list)
    ins: dict[int, list[InEdge]] = defaultdict(list)
    for edge in nest.scope.edges:
        source, target = nest.base + edge.source, nest.base + edge.target
        ins[target].append(InEdge(source=source, index=len(out[source])))
        out[source].append(OutEdge(target=target, handle=edge.handle, when=edge.when, route=edge.route))
    return _Edges(out=out, ins=ins)


def _node_stage(
    node: NodeSpec, base: int, path: _Path, edges: _Edges, names: References, default: Retry | None
) -> PlanNode:
    raw, kind, place = node.raw, node.type, base + node.no
    assert kind is not None
    out, ins = tuple(edges.out.get(place, ())), tuple(edges.ins.get(place, ()))
    return PlanNode(
        no=place,
        id=node.id,
        type=kind.type,
        name=raw.get("name"),
        fields=own_fields(node, kind),
        input_mapping=raw.get("input_mapping"),
        when=raw.get("when"),
        need=_need(raw.get("join", "all")) if ins else None,
        out=out,
        ins=ins,
        refs=named_nodes(names.of_node, node.no),
        edge_refs=named_nodes(names.of_edges, node.no),
        back=named_nodes(names.back, node.no),
        timeout=timeout_of(node, kind),
        retry=retry_of(node, default),
        queue=queue_of(node, kind),
        priority=raw.get("priority"),
        inline=kind.inline,
        passes=kind.passes,
        calls=kind.calls,
        slow=kind.slow,
        error_port=raw.get("error_port", False) or any(edge.handle is Handle.ERROR for edge in out),
        lets_end=raw.get("side_effects") == "external" or "compensate" in raw,
        estimate_cents=estimate(node),
        max_output_bytes=raw.get("max_output_bytes"),
        on_large_output=raw.get("on_large_output", "fail"),
        retain_output=raw.get("retain_output", False),
        idempotency_key=raw.get("idempotency_key"),
        level=path.level_of[place],
        pool=raw.get("pool"),
        slots=raw.get("slots", 1),
        rate=rate_of(node),
        total_timeout=durations.seconds(raw.get("total_timeout")),
        heartbeat=durations.seconds(raw.get("heartbeat")),
        degrade=_degrade(raw["degrade"]) if "degrade" in raw else None,
    )


def _degrade(raw: Mapping[str, Any]) -> dict[str, Any]:
    if "value" in raw:
        return {"value": raw["value"]}
    return {"use": raw["use"], "max_age": durations.seconds(raw.get("max_age"))}


def _need(join: str | Mapping[str, int]) -> int | None:
    if isinstance(join, str):
        return 1 if join == "any" else None
    return join["at_least"]
