"""What containers need of the advance that carries them: the seam between the two."""

from collections import deque
from typing import Protocol

from sqlalchemy.orm import Session

from models.moves import Decision, Move, Moved, Target, Transition, Transitioned
from models.queries.runs import RunInfo
from orchestrator.core.effects import Effect
from orchestrator.core.outcome import StepError
from orchestrator.core.plan import Plan, PlanNode
from orchestrator.services.deps import Deps


class Advancing(Protocol):
    """One transaction's advance of one run.

    sound: nothing is known by which the run would not succeed.
    ended: branches without an open step, still to be dealt with. iterated: loops that started an iteration.
    """

    deps: Deps
    session: Session
    plan: Plan
    info: RunInfo
    queued: dict[int, Target]
    effects: list[Effect]
    ended: deque[int]
    iterated: set[int]
    open_steps: int
    paused: bool
    sound: bool
    stopped: bool

    def start(self, transition: Transition) -> bool:
        """Carry out a round and what follows from it; False when it lost its race."""
        ...

    def begin(self, transition: Transition) -> Transitioned | None:
        """Carry out a round without what follows; None when it lost its race."""
        ...

    def round(self, transition: Transition) -> Transitioned | None:
        """Carry out a round, whatever it does."""
        ...

    def push(self, transition: Transition) -> None:
        """Carry out a round; what follows from it comes with the others."""
        ...

    def settle(self, first: Transitioned | None = None) -> None:
        """Carry out all that follows; within another settlement it is left to that."""
        ...

    def queue(self, moved: Moved) -> None:
        """Send a step that was queued."""
        ...

    def fail(self, node: PlanNode, move: Move, decisions: tuple[Decision, ...], error: StepError) -> bool:
        """A step failed for good: its error edges take it, or its branch or run fails."""
        ...
