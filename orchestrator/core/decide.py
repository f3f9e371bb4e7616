"""What follows from a step's outcome, by the plan alone: which out-edges live, and what each target is told.

Pure and idempotent: the same outcome gives the same decisions, twice, late or in another order.
Source: spec "definition", When a node is ready; spec "engine", Pure decision.
"""

from collections.abc import Iterable, Sequence

from models.moves import Decision, OnReady
from orchestrator.core.plan import Handle, Plan, PlanNode


def edges_on_success(
    node: PlanNode, *, route: str | None, terminal: bool, holds: Sequence[bool | None]
) -> str:
    """A digit for each out-edge of a node that succeeded, '1' = live.

    `holds` has the value of each out-edge's `when`, None for edges without one. `else` lives when none of the
    node's condition and router edges lives.
    """
    if terminal:
        return "0" * len(node.out)
    chosen = [
        (edge.handle is Handle.CONDITION and bool(held))
        or (edge.handle is Handle.ROUTER and route is not None and edge.route == route)
        for edge, held in zip(node.out, holds, strict=True)
    ]
    rest = not any(chosen)
    return "".join(
        "1" if edge.handle is Handle.SOURCE or picked or (edge.handle is Handle.ELSE and rest) else "0"
        for edge, picked in zip(node.out, chosen, strict=True)
    )


def edges_on_failure(node: PlanNode) -> str:
    """A digit for each out-edge of a node that failed for good: its error edges live."""
    return "".join("1" if edge.handle is Handle.ERROR else "0" for edge in node.out)


def edges_on_skip(node: PlanNode) -> str:
    """A digit for each out-edge of a node that was skipped or aborted: all are dead."""
    return "0" * len(node.out)


def decisions(plan: Plan, node: PlanNode, digits: str, *, off_chord: bool = False) -> tuple[Decision, ...]:
    """What each target of a decided node is told. `off_chord`: whoever decides a join now publishes it."""
    return tuple(
        Decision(
            source=node.no,
            target=edge.target,
            live=int(digit),
            edge=_place(plan.at(edge.target), node.no, index),
            need=plan.at(edge.target).need,
            on_ready=on_ready(plan.at(edge.target)),
            chord=False if off_chord else None,
        )
        for index, (edge, digit) in enumerate(zip(node.out, digits, strict=True))
    )


def starting(plan: Plan) -> tuple[Decision, ...]:
    """What the entries of a plan are told when their run starts: one live edge out of nowhere."""
    return entering(plan, plan.start)


def entering(plan: Plan, nos: Iterable[int]) -> tuple[Decision, ...]:
    """What entries, of a run or of branches, are told when they start."""
    return tuple(
        Decision(source=None, target=no, decided=0, live=1, on_ready=on_ready(plan.at(no))) for no in nos
    )


def leaving_chord(plan: Plan, node: PlanNode) -> tuple[Decision, ...]:
    """The joins of a member that parks or retries leave their chord; nothing is decided."""
    return tuple(
        Decision(
            source=node.no, target=edge.target, decided=0, need=plan.at(edge.target).need, chord=False
        )
        for edge in node.out
        if node.slow
    )


def on_ready(node: PlanNode) -> OnReady:
    """Nodes that are evaluated within the transaction come back for another round."""
    return OnReady.INLINE if node.evaluated else OnReady.QUEUE


def _place(target: PlanNode, source: int, index: int) -> int | None:
    """The place of an edge among its target's in-edges; kept for joins that start before all are decided."""
    if target.need is None:
        return None
    return next(
        place for place, edge in enumerate(target.ins) if edge.source == source and edge.index == index
    )
