"""A definition from document to plan: everything that is wrong with it at once, or all that a version stores.

Source: spec "definition".
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.core import cost, graph
from orchestrator.core.choices import find_choices
from orchestrator.core.classify import LONG, SHORT, check_long, classify
from orchestrator.core.document import Document, Limits
from orchestrator.core.fields import is_a
from orchestrator.core.nodetype import NodeType
from orchestrator.core.plan import Plan
from orchestrator.core.report import Report
from orchestrator.core.scope import EdgeSpec, Scope
from orchestrator.core.stages import construct, estimate
from orchestrator.core.validate_edges import check_edges
from orchestrator.core.validate_graph import check_graph
from orchestrator.core.validate_nodes import check_nodes
from orchestrator.core.validate_references import References
from orchestrator.core.validate_sessions import check_sessions
from orchestrator.core.validate_workflow import check_workflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """What a version stores of a definition.

    definition: the document with chains spelt out, `fallback` as its error edge, handles and routes explicit;
    compiling it again gives the same. digest: SHA-256 of it in hex, the same for YAML and JSON and any order
    of keys. classification: `{class, reasons}`. The estimate is a lower bound once bodies of unknown count exist.
    """

    definition: dict[str, Any]
    digest: str
    plan: Plan
    classification: dict[str, Any]
    estimated_cost_cents: int
    estimate_is_lower_bound: bool


def compile_definition(
    document: Document, *, types: Mapping[str, NodeType], limits: Limits, env_allow: Collection[str]
) -> Compiled:
    """Validate a definition whole and construct its plan. Raises InvalidError with all problems."""
    report, data = Report(document), document.data
    if not is_a(report, "", data, dict):
        report.close("definition")
    check_workflow(report, data)
    scope = check_nodes(report, data["nodes"], types, limits.max_nodes) if "nodes" in data else Scope()
    if not scope.nodes:
        # Without nodes every edge and every name would seem wrong.
        report.close("definition")
    check_edges(report, data.get("edges", []), scope)
    found = graph.build(len(scope.nodes), scope.edges)
    acyclic = check_graph(report, scope, found)
    names = References(report, scope, env_allow)
    names.take(data.get("outputs"), data.get("concurrency"))
    names.check_order(found)
    choices = find_choices(found, scope.edges) if acyclic else None
    if choices is not None:
        check_sessions(report, scope, found, choices)
    classification = classify(data.get("duration"), scope.nodes)
    if classification.name == LONG:
        check_long(report, scope.nodes)
    report.close("definition")
    assert choices is not None
    definition = _normal(data, scope)
    return Compiled(
        definition=definition,
        digest=digest(definition),
        plan=construct(data, scope, found, names, short=classification.name == SHORT),
        classification=classification.to_json(),
        estimated_cost_cents=cost.dearest([estimate(node) or 0 for node in scope.nodes], choices),
        estimate_is_lower_bound=False,
    )


def digest(definition: Mapping[str, Any]) -> str:
    """SHA-256 in hex of the canonical JSON of a definition."""
    text = json.dumps(definition, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _normal(data: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
    nodes = [{key: value for key, value in node.raw.items() if key != "fallback"} for node in scope.nodes]
    edges = [_edge(edge, scope) for edge in scope.edges]
    return {**data, "nodes": nodes, "edges": edges}


def _edge(edge: EdgeSpec, scope: Scope) -> dict[str, Any]:
    written: dict[str, Any] = {
        "from": scope.nodes[edge.source].id,
        "to": scope.nodes[edge.target].id,
        "handle": edge.handle.value,
    }
    if edge.when is not None:
        written["when"] = edge.when
    if edge.route is not None:
        written["route"] = edge.route
    return written
