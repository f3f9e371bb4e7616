"""Steps that cost next to nothing travel, are claimed and are completed many at a time; what a worker goes on with.

Pure. Source: spec "engine", Pure decision and carriage (Continuation, Batches); spec "performance".
"""

from collections.abc import Callable, Sequence

from orchestrator.core.nodetype import NodeType
from orchestrator.core.plan import Plan, PlanNode

SIZE = 64
CHEAP_SECONDS = 0.002
QUICK_SECONDS = 0.02
SHORT_TIMEOUT = 5.0  # seconds; an attempt's time begins with its claim, and a batch may make it wait for a while


def may_batch(node: PlanNode, type_: NodeType | None) -> bool:
    """Whether steps of a node may be done many at a time, if they prove to be cheap.

    A crash repeats a batch, so nothing that is done outside of the engine is; and its steps are claimed and completed
    by one statement, so nothing is that needs another one.
    """
    if type_ is None or not type_.batches:
        return False
    outside = type_.slow or type_.external or type_.calls or type_.people or node.slow or node.lets_end or node.calls
    more = node.gated or node.inline or node.undoes is not None or node.idempotency_key is not None
    hurried = node.timeout is not None and node.timeout < SHORT_TIMEOUT
    timed = hurried or node.heartbeat is not None or node.total_timeout is not None
    return not (outside or more or timed or node.body is not None)


def claimed_with_others(node: PlanNode) -> bool:
    """Whether one statement can claim a step of a node with others of its run, where the run has no budget."""
    return not node.gated and node.heartbeat is None and node.total_timeout is None


def starting(
    plan: Plan, ended: Sequence[PlanNode], *, queue: str, cheap: Callable[[PlanNode], bool], room: int, hands: int
) -> tuple[int, ...]:
    """Of the targets of steps that have succeeded, those that their workers claim in the same statement where they
    become ready: cheap ones of their queue, `room` at most, or else one for each thread whose hand is empty (`hands`).

    Which of several will be ready is not known here. A slow one is taken only after a step that leads to it alone.
    """
    targets = [plan.at(no) for no in dict.fromkeys(edge.target for node in ended for edge in node.out)]
    able = {node.no for node in targets if _able(node, queue)}
    quick = tuple(node.no for node in targets if node.no in able and cheap(node))[:room]
    if quick or room == 0:
        return quick
    chosen: dict[int, None] = {}
    for node in ended:
        if len(chosen) == hands:
            break
        own = [plan.at(no) for no in dict.fromkeys(edge.target for edge in node.out)]
        free = [each.no for each in own if each.no in able and (len(own) == 1 or not each.slow)]
        chosen |= dict.fromkeys([no for no in free if no not in chosen][:1])
    return tuple(chosen)


def _able(node: PlanNode, queue: str) -> bool:
    return (node.queue == queue or node.inline) and not node.gated and node.heartbeat is None and node.body is None
