"""A definition from document to plan: everything that is wrong with it at once, or all that a version stores.

Source: spec "definition".
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.core import bodies, cost
from orchestrator.core.bodies import Nest
from orchestrator.core.classify import LONG, SHORT, check_long, classify
from orchestrator.core.document import Document, Limits
from orchestrator.core.fields import is_a
from orchestrator.core.nodetype import NodeType
from orchestrator.core.plan import Plan
from orchestrator.core.report import Report
from orchestrator.core.scope import EdgeSpec, NodeSpec, Scope
from orchestrator.core.stages import construct
from orchestrator.core.validate_workflow import check_workflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """What a version stores of a definition.

    definition: the document with chains spelt out, `fallback` as its error edge, handles and routes explicit;
    compiling it again gives the same. digest: SHA-256 of it in hex, the same for YAML and JSON and any order
    of keys. classification: `{class, reasons}`. The estimate is a lower bound where a body's count is unknown, or
    the cost of a workflow that is called.
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
    root = bodies.read(report, data, types, limits)
    if not root.scope.nodes:
        # Without nodes every name would seem wrong.
        report.close("definition")
    bodies.check(report, root, data, env_allow)
    nodes = list(root.nodes())
    classification = classify(data.get("duration"), nodes)
    if classification.name == LONG:
        check_long(report, nodes)
    report.close("definition")
    definition = _normal(data, root)
    cents, is_lower_bound = cost.of_run(root)
    return Compiled(
        definition=definition,
        digest=digest(definition),
        plan=construct(data, root, short=classification.name == SHORT),
        classification=classification.to_json(),
        estimated_cost_cents=cents,
        estimate_is_lower_bound=is_lower_bound,
    )


def digest(definition: Mapping[str, Any]) -> str:
    """SHA-256 in hex of the canonical JSON of a definition."""
    text = json.dumps(definition, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _normal(data: Mapping[str, Any], nest: Nest) -> dict[str, Any]:
    nodes = [_node(node, nest.bodies.get(node.no)) for node in nest.scope.nodes]
    edges = [_edge(edge, nest.scope) for edge in nest.scope.edges]
    return {**data, "nodes": nodes, "edges": edges}


def _node(node: NodeSpec, body: Nest | None) -> dict[str, Any]:
    written = {key: value for key, value in node.raw.items() if key != "fallback"}
    return written if body is None else {**written, "body": _normal(node.raw["body"], body)}


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
