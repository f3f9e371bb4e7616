"""What an operator overrode for one run: retry and timeout, of all nodes or of some."""

from dataclasses import replace

from models.queries.runs import RunInfo
from orchestrator.core.plan import PlanNode


def effective(info: RunInfo, node: PlanNode) -> PlanNode:
    """A node under its run's `overrides: {retry, timeout, nodes: {id: {retry, timeout}}}`."""
    if not info.overrides:
        return node
    own = info.overrides.get("nodes", {}).get(node.id, {})
    retry = info.overrides.get("retry", {}) | own.get("retry", {})
    timeout = own.get("timeout", info.overrides.get("timeout", node.timeout))
    return replace(node, retry=replace(node.retry, **retry), timeout=timeout)
