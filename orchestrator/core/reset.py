"""Doing a branch again without what it has done: which of its steps are reset, and which start at once.

What succeeded stays, failures that an error port took, and what is dead by the decisions of what stays. Pure.
Source: spec "definition", loops ("goes on at the failed iteration"); spec "engine", Control.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.moves import Decision, Move, is_dead, is_ready
from models.states import STEP_TERMINAL, StepStatus
from orchestrator.core import decide
from orchestrator.core.plan import Plan, PlanNode


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A step's row, as far as a reset needs it."""

    status: StepStatus
    attempt: int
    out_edges: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """The moves that reset steps, and after these the decisions that make some of them ready."""

    moves: tuple[Move, ...]
    decisions: tuple[Decision, ...]


def reset(plan: Plan, nos: Sequence[int], rows: Mapping[int, Standing]) -> Reset:
    """Reset the steps of a branch, or of a run, that did not end well; `nos` are all its steps."""
    kept: dict[int, str] = {}
    moves: list[Move] = []
    decisions: list[Decision] = []
    for no in sorted(nos, key=lambda no: (plan.at(no).level, no)):
        node, row = plan.at(no), rows[no]
        lives = [at for at, edge in enumerate(node.ins) if kept.get(edge.source, "")[edge.index :][:1] == "1"]
        undecided = sum(edge.source not in kept for edge in node.ins)
        if row.status is StepStatus.SUCCESS or (row.status is StepStatus.FAILED and node.error_port):
            kept[no] = row.out_edges or ""
        elif row.status is StepStatus.SKIPPED and node.ins and is_dead(undecided, len(lives), node.need):
            kept[no] = decide.edges_on_skip(node)
        elif row.status in STEP_TERMINAL:
            move, decision = _reset(plan, node, row, undecided, lives)
            moves.append(move)
            decisions += decision
    return Reset(moves=tuple(moves), decisions=tuple(decisions))


def _reset(
    plan: Plan, node: PlanNode, row: Standing, undecided: int, lives: Sequence[int]
) -> tuple[Move, tuple[Decision, ...]]:
    """A step's move, and the decisions of its live edges where these make it ready: told afterwards, they start it."""
    ready = is_ready(undecided, len(lives), node.need) or not node.ins
    kept = () if ready else lives
    move = Move(
        no=node.no,
        fence=row.attempt,
        sources=(row.status,),
        to=StepStatus.PENDING,
        event="step.reset",
        undecided=undecided + len(lives) - len(kept),
        live=len(kept),
        live_in=",".join(map(str, kept)) if node.need is not None and kept else None,
    )
    if not ready:
        return move, ()
    if not node.ins:
        return move, decide.entering(plan, (node.no,))
    return move, tuple(_told(plan, node, at) for at in lives)


def _told(plan: Plan, node: PlanNode, at: int) -> Decision:
    """What a live in-edge of a kept step says to one that is reset. No chord carries it on a second time."""
    return Decision(
        source=None,
        target=node.no,
        live=1,
        edge=at if node.need is not None else None,
        need=node.need,
        on_ready=decide.on_ready(plan.at(node.no)),
        chord=False,
    )
