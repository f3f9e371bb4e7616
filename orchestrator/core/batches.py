"""Steps that cost next to nothing travel, are claimed and are completed many at a time; what a worker goes on with.

Pure. Source: spec "engine", Pure decision and carriage (Continuation, Batches); spec "performance".
"""

from collections.abc import Callable, Sequence

from orchestrator.core.nodetype import NodeType
from orchestrator.core.plan import Plan, PlanNode

SIZE = 64
CHEAP_SECONDS = 0.002
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


def starting(
    plan: Plan, ended: Sequence[PlanNode], *, queue: str, cheap: Callable[[PlanNode], bool], room: int, empty: bool
) -> tuple[int, ...]:
    """Of the targets of steps that have succeeded, those that their worker claims in the same statement where they
    become ready: cheap ones of its queue, `room` at most, or else exactly one, if its hands are `empty`.

    Which of several will be ready is not known here; a slow one is taken alone or not at all.
    """
    targets = [plan.at(no) for no in dict.fromkeys(edge.target for node in ended for edge in node.out)]
    able = [node for node in targets if _able(node, queue)]
    quick = tuple(node.no for node in able if cheap(node))[:room]
    if quick or not empty or room == 0:
        return quick
    first = able[:1] if len(targets) == 1 else [node for node in able if not node.slow][:1]
    return tuple(node.no for node in first)


def _able(node: PlanNode, queue: str) -> bool:
    return (node.queue == queue or node.inline) and not node.gated and node.heartbeat is None and node.body is None
