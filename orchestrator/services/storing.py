"""How what came of bodies gets into the database: by one statement where the plan allows it, else the longer way."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import structlog

from models.database import OUTAGES
from models.moves import Decision, OnReady, Target, Terms, Transition
from models.queries import transitions
from models.queries.runs import RunInfo
from models.queries.steps import Stored
from models.states import RunStatus
from orchestrator.core import batches
from orchestrator.core.effects import Arrange, Effect, Wave
from orchestrator.core.plan import Plan
from orchestrator.services import batching, claiming, lanes
from orchestrator.services.advance import message
from orchestrator.services.claiming import BudgetRefusedError, Claimed
from orchestrator.services.completing import Completion, Done
from orchestrator.services.crash import crash_point
from orchestrator.services.deps import Deps
from orchestrator.services.overrides import effective
from orchestrator.services.turns import Turns

_log = structlog.get_logger(__name__)
FIRST_WAIT, LONGEST_WAIT = 0.05, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a write came to: effects to send, steps that this worker goes on with, numbers of those that it ended."""

    effects: Sequence[Effect] = ()
    following: Sequence[Claimed] = ()
    ended: frozenset[int] = frozenset()


@dataclass(slots=True)
class _Hand:
    """What a thread can go on with: so many cheap steps, or one that is not, if it is `empty`."""

    room: int
    empty: bool
    steps: list[Claimed] = field(default_factory=list)

    @property
    def free(self) -> bool:
        """Whether it can take a step of any kind."""
        return self.empty and self.room > 0 and not self.steps


@dataclass(frozen=True, slots=True)
class _Part:
    """A completion that one statement can make, with others of its run; the hand of the thread that made it."""

    completion: Completion
    done: Done
    transition: Transition
    hand: _Hand


@dataclass(frozen=True, slots=True)
class _Applied:
    """What one statement came to: what it ended, what became ready and is not gone on with, whether the run is over."""

    ended: frozenset[int]
    ready: Sequence[Target] = ()
    over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Storing:
    """One process's way of writing what came of steps."""

    deps: Deps
    turns: Turns

    def one(self, completion: Completion, done: Done) -> Written:
        """Store what came of a body; while the database is away, try again for as long as the lease may hold.

        When a commit's answer was lost the second try finds the step completed, and a sweep sends what followed.
        """
        began, wait = time.monotonic(), FIRST_WAIT
        while True:
            try:
                return self._write(completion, done)
            except OUTAGES as error:
                over = time.monotonic() - began + wait > self.deps.settings.lease_seconds
                if over or completion.claimed.given_up.wait(wait):
                    raise
                _log.warning("completion is tried again", step=completion.claimed.path, reason=str(error))
                wait = min(2 * wait, LONGEST_WAIT)

    def together(self, many: Sequence[tuple[Completion, Done]]) -> Written:
        """Store all of these of one thread that one statement can; what it did not end is left to `one`.

        Where the run would end by them, the last is left. What the database refuses is left too, for one of them may
        be what it does not take.
        """
        if not many:
            return Written()
        first = many[0][0]
        hand = _Hand(first.room, first.empty)
        parts = [_Part(c, done, alone, hand) for c, done in many if (alone := c.alone(done)) is not None]
        try:
            with self.turns.of(first.claimed.info.id):
                applied = self._apply(parts) or (self._apply(parts[:-1]) if len(parts) > 1 else None)
        except Exception as error:
            _log.warning("steps not completed together", steps=len(parts), reason=type(error).__name__)
            return Written()
        return Written() if applied is None else self._written(first.claimed, applied, hand)

    def _write(self, completion: Completion, done: Done) -> Written:
        claimed = completion.claimed
        info, alone = claimed.info, completion.alone(done)
        if alone is not None:
            part = _Part(completion, done, alone, _Hand(completion.room, completion.empty))
            applied = self.turns.together(info.id, f"complete {claimed.queue}", part, self._each)
            if applied is not None:
                return self._written(claimed, applied, part.hand)
        try:
            with self.turns.of(info.id), self.deps.db.transaction() as session:
                effects, following = completion.write(session, done)
                crash_point("before_commit")
        except BudgetRefusedError:
            with self.turns.of(info.id), self.deps.db.transaction() as session:
                effects, following = replace(completion, room=0).write(session, done)
        return Written(effects=effects, following=() if following is None else (following,))

    def _each(self, parts: Sequence[_Part]) -> list[_Applied | None]:
        """Complete steps of several threads by one statement, or each by its own; None for those that were refused.

        What became ready and is not gone on with is told to the first.
        """
        if len(parts) == 1:
            return [self._apply(parts)]
        applied = self._tried(parts) if _differ(parts) else None
        if applied is None:
            return [self._tried([part]) for part in parts]
        found: list[_Applied | None] = []
        for part in parts:
            ended = part.completion.claimed.no in applied.ended
            found.append(applied if ended else None)
            if ended:
                applied = replace(applied, ready=(), over=False)
        return found

    def _tried(self, parts: Sequence[_Part]) -> _Applied | None:
        """As `_apply`; None, too, where one of them may be what the database does not take."""
        try:
            return self._apply(parts)
        except OUTAGES:
            raise
        except Exception as error:
            _log.warning("steps not completed together", steps=len(parts), reason=type(error).__name__)
            return None

    def _apply(self, parts: Sequence[_Part]) -> _Applied | None:
        """Complete by one statement, in the run's turn, and fill the hands; None when it was refused."""
        if not parts:
            return None
        with self.deps.db.single() as session:
            crash_point("before_commit")
            result = transitions.apply(session, self._joined(parts))
        if result is None or not result.moved:
            return None
        ended = frozenset(moved.no for moved in result.moved)
        completion = parts[0].completion
        info, plan = completion.claimed.info, completion.claimed.plan
        hands = _hands(part for part in parts if part.completion.claimed.no in ended)
        known = {row.no: row for part in parts for row in part.completion.known(part.done) if row.no in ended}
        for moved in result.started:
            self._deal(claiming.started(info, plan, moved, claiming.needed(plan, moved.no, known)), hands)
        ready = [target for target in result.targets if target.verdict == "queued"]
        gone: set[int] = set()
        try:
            gone = self._take(completion, ready, hands, list(known.values()))
            self._pull(completion, hands)
        except OUTAGES as error:  # what has ended is written: the others go on without what else there is
            _log.warning("nothing more to go on with", run=info.id, reason=type(error).__name__)
        left = [target for target in ready if not target.in_chord and target.no not in gone]
        return _Applied(ended, left, over=result.run_status == RunStatus.SUCCESS)

    def _joined(self, parts: Sequence[_Part]) -> Transition:
        claimed, hands = parts[0].completion.claimed, _hands(parts)
        starts = batches.starting(
            claimed.plan,
            [part.completion.claimed.node for part in parts],
            queue=claimed.queue,
            cheap=partial(batching.cheap, self.deps, claimed.info),
            room=sum(hand.room for hand in hands),
            hands=sum(hand.free for hand in hands),
        )
        told = (decision for part in parts for decision in part.transition.decisions)
        return replace(
            parts[0].transition,
            moves=tuple(move for part in parts for move in part.transition.moves),
            decisions=tuple(_begun(claimed.info, claimed.plan, d) if d.target in starts else d for d in told),
            ends=all(part.transition.ends for part in parts),
            terms=Terms(lease=self.deps.settings.lease_seconds, worker=self.deps.process),
        )

    def _deal(self, claimed: Claimed, hands: Sequence[_Hand]) -> None:
        """A cheap step joins others in a hand that has room, any other one gets a hand of its own.

        Where one of the threads lost its step, a step more may have been claimed than there are hands.
        """
        cheap = batching.cheap(self.deps, claimed.info, claimed.node)
        fitting = (hand for hand in hands if (len(hand.steps) < hand.room if cheap else hand.free))
        hand = next(fitting, None) or min(hands, key=lambda each: len(each.steps))
        hand.steps.append(claimed)

    def _take(
        self, completion: Completion, ready: Sequence[Target], hands: Sequence[_Hand], known: Sequence[Stored]
    ) -> set[int]:
        """Fill what is free with steps that have just become ready; their numbers."""
        info, plan = completion.claimed.info, completion.claimed.plan
        free = [hand for hand in hands if hand.free]
        some = completion.able(ready)[: len(free)] if free else []
        looks = [(target.no, target.attempt) for target in some if batches.claimed_with_others(plan.at(target.no))]
        if not some:
            return set()
        with self.deps.db.single() as session:
            if looks:
                found = claiming.claim_all(self.deps, session, info, looks, known)
            else:
                first = claiming.claim(self.deps, session, info, some[0].no, some[0].attempt, tuple(known))
                found = [] if first is None else [first]
        for claimed, hand in zip(found, free, strict=False):
            hand.steps.append(claimed)
        return {claimed.no for claimed in found}

    def _pull(self, completion: Completion, hands: Sequence[_Hand]) -> None:
        """Fill what is still free with steps of the run that are held until their queue has room: quick ones after
        quick ones, whose message would cost more than they do. They are next in their lane, and take none of its room.
        """
        info, plan = completion.claimed.info, completion.claimed.plan
        free = [hand for hand in hands if hand.free]
        if not free or not self._is_quick(plan, completion.claimed.no):
            return
        held = lanes.next_of(self.deps, info, completion.claimed.queue, batches.SIZE)
        cheap = [look for look in held if batching.cheap(self.deps, info, plan.at(look[0]))]
        looks = cheap[: free[0].room] or [look for look in held if self._is_quick(plan, look[0])][: len(free)]
        if looks:
            with self.deps.db.single() as session:
                for claimed in claiming.claim_all(self.deps, session, info, looks):
                    self._deal(claimed, free)

    def _is_quick(self, plan: Plan, no: int) -> bool:
        node = plan.at(no)
        return not node.slow and batches.claimed_with_others(node) and self.deps.paces.quick(node.type)

    def _written(self, claimed: Claimed, applied: _Applied, hand: _Hand) -> Written:
        """What is left when hands are full: steps that are published or held back."""
        info = claimed.info
        effects: list[Effect] = []
        rest = lanes.admit(self.deps, info, claimed.plan, applied.ready) if applied.ready else []
        if rest:
            effects.append(Wave(messages=tuple(message(info, target) for target in rest)))
        if applied.over and info.concurrency_key is not None:
            effects.append(Arrange(key=info.concurrency_key))
        return Written(
            effects=effects,
            following=hand.steps,
            ended=applied.ended,
        )


def _begun(info: RunInfo, plan: Plan, decision: Decision) -> Decision:
    timeout = effective(info, plan.at(decision.target)).timeout
    return replace(decision, on_ready=OnReady.START, timeout=timeout)


def _differ(parts: Sequence[_Part]) -> bool:
    """Whether no two are attempts of one step, of which the older was lost."""
    return len({part.completion.claimed.no for part in parts}) == len(parts)


def _hands(parts: Iterable[_Part]) -> list[_Hand]:
    """The hands of some parts, each once."""
    return list({id(part.hand): part.hand for part in parts}.values())
