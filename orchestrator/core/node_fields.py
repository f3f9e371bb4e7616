"""What a plan keeps of a node's fields, the same for a node and for a compensation. The fields are without mistakes."""

from typing import Any

from orchestrator.core import durations
from orchestrator.core.nodetype import FieldKind, NodeType
from orchestrator.core.plan import Retry
from orchestrator.core.scope import NodeSpec
from orchestrator.core.validate_retry import read_retry


def own_fields(node: NodeSpec, kind: NodeType) -> dict[str, Any]:
    """The fields of the node's type, but for a body."""
    return {
        field.name: node.raw[field.name]
        for field in kind.fields
        if field.name in node.raw and field.kind is not FieldKind.BODY
    }


def timeout_of(node: NodeSpec, kind: NodeType) -> float | None:
    """Seconds that an attempt may take."""
    return durations.seconds(node.raw["timeout"]) if "timeout" in node.raw else kind.timeout


def retry_of(node: NodeSpec, default: Retry | None) -> Retry:
    """Its retry policy, laid over the workflow's."""
    return read_retry(node.raw["retry"], default) if "retry" in node.raw else default or Retry()


def queue_of(node: NodeSpec, kind: NodeType) -> str:
    """The queue that its steps travel on."""
    return kind.queue if kind.owns_queue else str(node.raw.get("queue", kind.queue))


def rate_of(node: NodeSpec) -> dict[str, Any] | None:
    """Its rate: {key, limit, per: seconds}."""
    raw = node.raw.get("rate")
    if raw is None:
        return None
    return {"key": raw["key"], "limit": raw["limit"], "per": durations.seconds(raw["per"])}
