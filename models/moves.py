"""What the transition statement is asked to do, as plain data: moves, decisions of edges, further events."""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from models.states import STARTING, STEP_TERMINAL, StepStatus


class AttemptChange(StrEnum):
    """What a move does to the attempt's row."""

    START = "start"  # insert a running one
    END = "end"  # write what came of the running one
    WHOLE = "whole"  # insert one that is over already (inline nodes)
    RESUME = "resume"  # a parked one runs again


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptResult:
    """What came of an attempt; JSON columns as text."""

    status: str
    output: str | None = None
    passed: str | None = None
    resolved: str | None = None
    input_digest: str | None = None
    error: str | None = None
    agent: str | None = None
    model: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost: int = 0
    reserved: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Move step `no` to `to`, if it is in one of `sources` and its attempt is `fence`.

    bump: added to the attempt (1 starts one, or raises the fence). tries: added. losses: 0 resets, 1 adds one,
    None keeps. lease, timeout: seconds from the database's now. due: seconds since 1970. undecided, live:
    counters to set (closures of skips, resets). live_in: the in-edges that a reset step keeps as live. A step
    that is reset (to pending) forgets its tries, route and out-edges, one that parks or resumes keeps its
    attempt's timeout; one that parks or leaves that is in no lane.
    more: further members of the event's data.
    """

    no: int
    fence: int
    sources: tuple[StepStatus, ...]
    to: StepStatus
    event: str
    more: dict[str, Any] = field(default_factory=dict)
    actor: str | None = None
    bump: int = 0
    tries: int = 0
    losses: int | None = None
    route: str | None = None
    out_edges: str | None = None
    waiting_for: str | None = None
    lease: float | None = None
    timeout: float | None = None
    due: float | None = None
    undecided: int | None = None
    live: int | None = None
    live_in: str | None = None
    worker: str | None = None
    change: AttemptChange | None = None
    result: AttemptResult | None = None

    @property
    def closes(self) -> bool:
        """Whether the step is terminal afterwards."""
        return self.to in STEP_TERMINAL

    @property
    def completes(self) -> bool:
        """Whether a running step succeeds, and nothing else of it changes."""
        return (
            self.sources == (StepStatus.RUNNING,)
            and (self.to, self.event, self.change) == (StepStatus.SUCCESS, "step.completed", AttemptChange.END)
            and (self.bump, self.tries, self.losses) == (0, 1, 0)
            and self.actor is None
        )

    @property
    def opened(self) -> int:
        """What the move adds to the run's open steps."""
        return int(self.sources[0] in STEP_TERMINAL) - int(self.closes)

    @property
    def more_text(self) -> str:
        """`more` as the tail of a JSON object."""
        return "," + json.dumps(self.more, separators=(",", ":"), allow_nan=False)[1:-1] if self.more else ""


class OnReady(StrEnum):
    """What the statement does with a target whose join is met."""

    QUEUE = "queue"
    INLINE = "inline"  # leave it pending and return it: it needs another round
    START = "start"  # claim it for whoever asks, by the transition's `terms`, without queueing it


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """An in-edge of `target` was decided by `source` (None: the run's start).

    need: live in-edges that the target needs, None = all decided and one live. chord: True puts the target's
    carriage on the body of a chord, False takes it off. decided 0: only the chord is meant. timeout: seconds that
    the attempt may take which START begins.
    """

    source: int | None
    target: int
    decided: int = 1
    live: int = 0
    edge: int | None = None
    need: int | None = None
    on_ready: OnReady = OnReady.QUEUE
    chord: bool | None = None
    timeout: float | None = None

    @property
    def plain(self) -> bool:
        """Whether a live edge leads to a join of all, which is queued or started when it is met."""
        return (
            self.source is not None
            and (self.decided, self.live, self.need) == (1, 1, None)
            and self.on_ready is not OnReady.INLINE
            and self.chord is not True
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraEvent:
    """An event that is no transition, written with the moves."""

    type: str
    step: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    actor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms a transition claims the targets that START: the lease in seconds, the worker's name."""

    lease: float
    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One round for one run. `while_` are the run's statuses in which it may happen.

    unless_last: not while the run has no more open steps than there are moves, whose end would be the run's.
    ends: only with `completions`: but then the run may end by it, in success; PostgreSQL's statement can do that.
    terms: only with `completions`, and needed where a decision is to START its target; one that a person has given
    an override, or that a chord carries, is queued instead. wanted: numbers of steps whose rows are read along,
    where anything moves.
    """

    run_id: str
    moves: tuple[Move, ...] = ()
    decisions: tuple[Decision, ...] = ()
    extras: tuple[ExtraEvent, ...] = ()
    while_: tuple[str, ...] = STARTING
    unless_stopping: bool = False
    unless_last: bool = False
    ends: bool = False
    error: dict[str, Any] | None = None  # the run's, kept if it has one already
    stopping: str | None = None
    terms: Terms | None = None
    wanted: tuple[int, ...] = ()

    @property
    def completions(self) -> bool:
        """Whether it is nothing but ends of running steps that succeeded, all of whose edges live and lead to plain
        joins.
        """
        return (
            self.unless_stopping
            and self.unless_last
            and bool(self.moves)
            and not self.extras
            and self.error is None
            and self.stopping is None
            and all(move.completes for move in self.moves)
            and all(decision.plain for decision in self.decisions)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A step that was moved, as it is now."""

    no: int
    path: str
    status: StepStatus
    attempt: int
    tries: int
    losses: int
    live_in: str | None
    idempotency_key: str | None
    override: str | None = None  # JSON; told of claims alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A step whose counters changed. `verdict`: queued (now), started (now), inline (ready, yours), dead, or None."""

    no: int
    path: str
    attempt: int
    queue: str
    in_chord: bool
    verdict: str | None
    live_in: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transitioned:
    """What a round did. `run` is the run's row after it. started: targets that were claimed, by number.

    stored: the rows of the steps that were wanted, as the database's driver gives them (`models.queries.steps`).
    """

    moved: tuple[Moved, ...]
    targets: tuple[Target, ...]
    open_steps: int
    run_status: str
    stopping: str | None
    failed: bool
    started: tuple[Moved, ...] = ()
    stored: tuple[tuple[Any, ...], ...] = ()


def verdict(before: tuple[int, int], after: tuple[int, int], need: int | None) -> str | None:
    """`ready` or `dead` when the change of (undecided, live) made it so, else None.

    Both databases' statements and the closure of skips share this rule (spec "definition", When a node is
    ready).
    """
    if is_ready(*after, need) and not is_ready(*before, need):
        return "ready"
    if is_dead(*after, need) and not is_ready(*after, need):
        return "dead"
    return None


def is_ready(undecided: int, live: int, need: int | None) -> bool:
    """Whether a join is met."""
    return (undecided == 0 and live > 0) if need is None else live >= need


def is_dead(undecided: int, live: int, need: int | None) -> bool:
    """Whether a join can't be met any more."""
    return undecided == 0 and live == 0 if need is None else live + undecided < need
