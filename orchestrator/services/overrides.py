"""What an operator overrode: retry and timeout, at trigger for all nodes of a run or for some, later for one step."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from models.queries.runs import RunInfo
from orchestrator.core.plan import PlanNode
from orchestrator.core.validate_retry import read_retry


def effective(info: RunInfo, node: PlanNode, own: Mapping[str, Any] | None = None) -> PlanNode:
    """A node under its run's `overrides: {retry, timeout, nodes: {id: {retry, timeout}}}` and the step's own."""
    given = info.overrides or {}
    for layer in (given, given.get("nodes", {}).get(node.id), own):
        if layer:
            node = _under(node, layer)
    return node


def _under(node: PlanNode, layer: Mapping[str, Any]) -> PlanNode:
    retry = read_retry(layer.get("retry") or {}, node.retry)
    return replace(node, retry=retry, timeout=layer.get("timeout", node.timeout))
