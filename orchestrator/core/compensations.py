"""Compensations as nodes of the plan: behind all others, with the scope of their owner and without edges.

So a compensation's step is carried like any other, and no join, level, body or count knows of it.
Source: spec "definition", `compensate`; spec "engine", Compensation.
"""

from orchestrator.core.cost import estimate
from orchestrator.core.node_fields import own_fields, queue_of, rate_of, retry_of, timeout_of
from orchestrator.core.plan import PlanNode, Retry
from orchestrator.core.scope import NodeSpec
from orchestrator.core.validate_references import References, named_nodes

SUFFIX = ":compensate"


def of(
    node: NodeSpec, owner: PlanNode, names: References, no: int, default: Retry | None
) -> PlanNode | None:
    """The compensation of a node, under number `no`; None: there is nothing to undo.

    A step that waits for a run that it calls, and has none of its own, is undone by that run's.
    """
    if node.undone_by is not None:
        return _given(node.undone_by, owner, names, no, default)
    if owner.calls and node.raw.get("wait", True) and "compensate" not in node.raw:
        return PlanNode(
            no=no, id=owner.id + SUFFIX, type=owner.type, scope=owner.scope, calls=True, undoes=owner.no, asks=True
        )
    return None


def _given(
    node: NodeSpec, owner: PlanNode, names: References, no: int, default: Retry | None
) -> PlanNode:
    raw, kind = node.raw, node.type
    assert kind is not None
    return PlanNode(
        no=no,
        id=owner.id + SUFFIX,
        type=kind.type,
        name=raw.get("name"),
        fields=own_fields(node, kind),
        input_mapping=raw.get("input_mapping"),
        refs=named_nodes(names.of_undoing, node.no),
        back=named_nodes(names.back, node.no),
        scope=owner.scope,
        timeout=timeout_of(node, kind),
        retry=retry_of(node, default),
        queue=queue_of(node, kind),
        priority=raw.get("priority"),
        inline=kind.inline,
        passes=kind.passes,
        calls=kind.calls,
        slow=kind.slow,
        estimate_cents=estimate(node),
        max_output_bytes=raw.get("max_output_bytes"),
        on_large_output=raw.get("on_large_output", "fail"),
        level=owner.level,
        pool=raw.get("pool"),
        slots=raw.get("slots", 1),
        rate=rate_of(node),
        undoes=owner.no,
    )
