"""The closure of skips: all that dies when some nodes are dead, computed once.

Source: spec "engine", Inline ("a closure of skips is computed once and written by set-based statements").
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from models.moves import Decision, Move, verdict
from models.states import StepStatus
from orchestrator.core import decide
from orchestrator.core.plan import Plan

CHUNK = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """A step's row, as far as a closure needs it."""

    status: str
    attempt: int
    undecided: int
    live: int


def descendants(plan: Plan, nos: Iterable[int]) -> set[int]:
    """The given nodes and all that can be reached from them."""
    found = set(nos)
    open_ = deque(found)
    while open_:
        for edge in plan.at(open_.popleft()).out:
            if edge.target not in found:
                found.add(edge.target)
                open_.append(edge.target)
    return found


def rounds(
    plan: Plan, dead: Sequence[int], rows: Mapping[int, Counters]
) -> list[tuple[tuple[Move, ...], tuple[Decision, ...]]]:
    """The moves and decisions of a closure, at most CHUNK moves each. `rows`: the dead and their descendants.

    Of the dead those that are not pending any more have told their targets before. The counters of skipped
    nodes are set by their own move; only edges out of the closure are decisions.
    """
    skipped, counters = _skipped(plan, dead, rows)
    inside = set(skipped)
    moves, out = [], []
    for no in skipped:
        node, (undecided, live) = plan.at(no), counters[no]
        digits = decide.edges_on_skip(node)
        moves.append(
            Move(
                no=no,
                fence=rows[no].attempt,
                sources=(StepStatus.PENDING,),
                to=StepStatus.SKIPPED,
                event="step.skipped",
                more={"edges": digits},
                out_edges=digits,
                undecided=undecided,
                live=live,
            )
        )
        out.append([d for d in decide.decisions(plan, node, digits) if d.target not in inside])
    return [
        (tuple(moves[at : at + CHUNK]), tuple(d for row in out[at : at + CHUNK] for d in row))
        for at in range(0, len(moves), CHUNK)
    ]


def _skipped(
    plan: Plan, dead: Sequence[int], rows: Mapping[int, Counters]
) -> tuple[list[int], dict[int, tuple[int, int]]]:
    counters = {no: (row.undecided, row.live) for no, row in rows.items()}
    first = [no for no in dict.fromkeys(dead) if rows[no].status == StepStatus.PENDING]
    seen, open_, skipped = set(first), deque(first), []
    while open_:
        no = open_.popleft()
        skipped.append(no)
        for edge in plan.at(no).out:
            target = edge.target
            before = counters[target]
            after = counters[target] = (before[0] - 1, before[1])
            died = verdict(before, after, plan.at(target).need) == "dead"
            if died and target not in seen and rows[target].status == StepStatus.PENDING:
                seen.add(target)
                open_.append(target)
    return skipped, counters
