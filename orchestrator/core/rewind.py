"""Taking decisions of steps back: what follows from them is reset, all else stays as it was decided.

Pure. Source: spec "engine", Control ("reset the descendants and recompute their counters from the stored
decisions").
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from models.moves import Decision, Move, is_dead, is_ready
from models.states import STEP_TERMINAL, StepStatus
from orchestrator.core import decide
from orchestrator.core.plan import Plan, PlanNode
from orchestrator.core.skips import descendants


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A step's row, as far as it matters here. One that was closed before it had decided has no `out_edges`;
    `live_in`: the in-edges that it started with, where they are kept."""

    status: StepStatus
    attempt: int
    out_edges: str | None
    undecided: int
    live: int
    live_in: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewound:
    """What taking decisions back comes to.

    closing: steps that go on, or count what is taken back: they have to be closed, then it is asked again.
    moves reset steps to pending; after these `decisions` make those ready, or dead, that are so already.
    after: the steps behind those that were taken back, whether they are reset or never began.
    """

    closing: tuple[int, ...]
    moves: tuple[Move, ...]
    decisions: tuple[Decision, ...]
    after: frozenset[int]


def rewind(
    plan: Plan, rows: Mapping[int, Standing], again: Collection[int], anew: Collection[int] = ()
) -> Rewound:
    """Take back what steps have decided, of a run's own steps or those of a branch; `rows` are all of them.

    `again` are reset themselves and start anew; `anew` are left as they are: whoever asks moves and tells them.
    Of the others those behind them are reset, and those that were closed before they had decided anything.
    What was done stays, and so do failures, steps that an operator or a condition skipped, and what is dead by
    what stays.
    """
    taken = set(again) | set(anew)
    after = descendants(plan, taken) - taken
    kept: dict[int, str] = {}
    closing: list[int] = []
    moves: list[Move] = []
    decisions: list[Decision] = []
    for no in sorted(rows, key=lambda no: (plan.at(no).level, no)):
        node, row = plan.at(no), rows[no]
        if no in anew:
            continue
        stands = _Stands(node=node, lives=_lives(node, kept), undecided=_undecided(node, kept))
        if row.status not in STEP_TERMINAL:
            if no in after and not _unmoved(row, stands):
                closing.append(no)
        elif row.out_edges is not None and _stays(row, stands, taken_back=no in after or no in again):
            kept[no] = row.out_edges
        else:
            moves.append(stands.reset(row))
            decisions += stands.told(plan, row.live_in)
    return Rewound(
        closing=tuple(closing), moves=tuple(moves), decisions=tuple(decisions), after=frozenset(after)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stands:
    """A step by the decisions that stay: the places of its in-edges that live, how many are undecided."""

    node: PlanNode
    lives: tuple[int, ...]
    undecided: int

    @property
    def dead(self) -> bool:
        return bool(self.node.ins) and is_dead(self.undecided, len(self.lives), self.node.need)

    @property
    def ready(self) -> bool:
        return not self.node.ins or is_ready(self.undecided, len(self.lives), self.node.need)

    def reset(self, row: Standing) -> Move:
        """Back to pending. What makes it ready or dead is held back, to be told afterwards."""
        held = len(self.lives) if self.ready else int(self.dead)
        kept = () if self.ready else self.lives
        return Move(
            no=self.node.no,
            fence=row.attempt,
            sources=(row.status,),
            to=StepStatus.PENDING,
            event="step.reset",
            losses=0,
            undecided=self.undecided + held,
            live=len(kept),
            live_in=",".join(map(str, kept)) if self.node.need is not None and kept else None,
        )

    def told(self, plan: Plan, live_in: str | None) -> Iterator[Decision]:
        """What was held back; no chord carries a step on a second time."""
        if not self.node.ins:
            yield from decide.entering(plan, (self.node.no,))
        elif self.ready:
            built_of = given_again(self.lives, live_in)
            yield from (self._decision(live=1, place=place if place in built_of else None) for place in self.lives)
        elif self.dead:
            yield self._decision(live=0)

    def _decision(self, *, live: int, place: int | None = None) -> Decision:
        need = self.node.need
        return Decision(
            source=None,
            target=self.node.no,
            live=live,
            edge=None if need is None else place,
            need=need,
            on_ready=decide.on_ready(self.node),
            chord=False,
        )


def given_again(lives: Collection[int], live_in: str | None) -> Collection[int]:
    """The in-edges that a step starts with again: those of before, where all of them still live.

    What a container has done already was given what came in by them.
    """
    before = {int(place) for place in (live_in or "").split(",") if place}
    return before if before and before <= set(lives) else lives


def _lives(node: PlanNode, kept: Mapping[int, str]) -> tuple[int, ...]:
    return tuple(at for at, edge in enumerate(node.ins) if kept.get(edge.source, "")[edge.index :][:1] == "1")


def _undecided(node: PlanNode, kept: Mapping[int, str]) -> int:
    return sum(edge.source not in kept for edge in node.ins)


def _unmoved(row: Standing, stands: _Stands) -> bool:
    """Whether a step has not begun, and counts nothing that is taken back.

    `kept` has less than was decided, so that equal counts mean the same edges.
    """
    counted = (row.undecided, row.live) == (stands.undecided, len(stands.lives))
    return row.status is StepStatus.PENDING and counted


def _stays(row: Standing, stands: _Stands, *, taken_back: bool) -> bool:
    if row.status is StepStatus.SKIPPED and taken_back:
        return stands.dead
    return not taken_back and row.status in (StepStatus.SUCCESS, StepStatus.FAILED, StepStatus.SKIPPED)
