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
from orchestrator.core.rewind import given_again


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A step's row, as far as a reset needs it; `live_in`: the in-edges that it started with, where they are kept."""

    status: StepStatus
    attempt: int
    out_edges: str | None
    live_in: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """The moves that reset steps, and after these the decisions that make some of them ready.

    behind: containers that have begun, and that others are before which are reset: they are to be given something else.
    given: the in-edges that steps which stay were given their input by. Those that are reset among their sources
    may decide otherwise now.
    """

    moves: tuple[Move, ...]
    decisions: tuple[Decision, ...]
    behind: tuple[int, ...]
    given: Mapping[int, str]


def reset(plan: Plan, nos: Sequence[int], rows: Mapping[int, Standing]) -> Reset:
    """Reset the steps of a branch, or of a run, that did not end well; `nos` are all its steps."""
    kept: dict[int, str] = {}
    moves: list[Move] = []
    decisions: list[Decision] = []
    behind: list[int] = []
    given: dict[int, str] = {}
    for no in sorted(nos, key=lambda no: (plan.at(no).level, no)):
        node, row = plan.at(no), rows[no]
        lives = [at for at, edge in enumerate(node.ins) if kept.get(edge.source, "")[edge.index :][:1] == "1"]
        undecided = sum(edge.source not in kept for edge in node.ins)
        if row.status is StepStatus.SUCCESS or (row.status is StepStatus.FAILED and node.error_port):
            kept[no] = row.out_edges or ""
            if undecided and lives and row.live_in is None:
                given[no] = ",".join(map(str, lives))
        elif row.status is StepStatus.SKIPPED and node.ins and is_dead(undecided, len(lives), node.need):
            kept[no] = decide.edges_on_skip(node)
        elif row.status in STEP_TERMINAL:
            move, decision = _reset(plan, node, row, undecided, lives)
            moves.append(move)
            decisions += decision
            if node.body is not None and row.attempt and not _is_ready(node, undecided, lives):
                behind.append(no)
    return Reset(moves=tuple(moves), decisions=tuple(decisions), behind=tuple(behind), given=given)


def _reset(
    plan: Plan, node: PlanNode, row: Standing, undecided: int, lives: Sequence[int]
) -> tuple[Move, tuple[Decision, ...]]:
    """A step's move, and the decisions of its live edges where these make it ready: told afterwards, they start it."""
    ready = _is_ready(node, undecided, lives)
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
    built_of = given_again(lives, row.live_in)
    return move, tuple(_told(plan, node, at if at in built_of else None) for at in lives)


def _is_ready(node: PlanNode, undecided: int, lives: Sequence[int]) -> bool:
    return not node.ins or is_ready(undecided, len(lives), node.need)


def _told(plan: Plan, node: PlanNode, at: int | None) -> Decision:
    """What a live in-edge of a kept step says to one that is reset. No chord carries it on a second time.

    at: the edge's place, where the step's input is made of it.
    """
    return Decision(
        source=None,
        target=node.no,
        live=1,
        edge=at if node.need is not None else None,
        need=node.need,
        on_ready=decide.on_ready(plan.at(node.no)),
        chord=False,
    )
