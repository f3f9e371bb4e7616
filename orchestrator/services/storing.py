"""How what came of bodies gets into the database: by one statement where the plan allows it, else the longer way."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog

from models.database import OUTAGES
from models.moves import Decision, OnReady, Target, Terms, Transition, Transitioned
from models.queries import transitions
from models.queries.runs import RunInfo
from orchestrator.core import batches
from orchestrator.core.effects import Effect, Wave
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


@dataclass(frozen=True, slots=True)
class _Part:
    """A completion that one statement can make, with others of its run."""

    completion: Completion
    done: Done
    transition: Transition


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
        """Store all of these that one statement can; what it did not end is left to `one`.

        Where the run would end by them, the last is left. What the database refuses is left too, for one of them may
        be what it does not take.
        """
        parts = [_Part(c, done, alone) for c, done in many if (alone := c.alone(done)) is not None]
        try:
            written = self._apply(parts) or (self._apply(parts[:-1]) if len(parts) > 1 else None)
        except Exception as error:
            _log.warning("steps not completed together", steps=len(parts), reason=type(error).__name__)
            return Written()
        return written or Written()

    def _write(self, completion: Completion, done: Done) -> Written:
        info = completion.claimed.info
        alone = completion.alone(done)
        written = None if alone is None else self._apply([_Part(completion, done, alone)])
        if written is not None:
            return written
        try:
            with self.turns.of(info.id), self.deps.db.transaction() as session:
                effects, following = completion.write(session, done)
                crash_point("before_commit")
        except BudgetRefusedError:
            with self.turns.of(info.id), self.deps.db.transaction() as session:
                effects, following = replace(completion, room=0).write(session, done)
        return Written(effects=effects, following=() if following is None else (following,))

    def _apply(self, parts: Sequence[_Part]) -> Written | None:
        """Complete by one statement; None when it was refused."""
        if not parts:
            return None
        joined = self._joined(parts)
        with self.turns.of(joined.run_id), self.deps.db.single() as session:
            crash_point("before_commit")
            result = transitions.apply(session, joined)
        if result is None or not result.moved:
            return None
        return self._follow(parts, result)

    def _joined(self, parts: Sequence[_Part]) -> Transition:
        first, claimed = parts[0].completion, parts[0].completion.claimed
        starts = batches.starting(
            claimed.plan,
            [part.completion.claimed.node for part in parts],
            queue=claimed.queue,
            cheap=partial(batching.cheap, self.deps, claimed.info),
            room=first.room,
            empty=first.empty,
        )
        told = (decision for part in parts for decision in part.transition.decisions)
        return replace(
            parts[0].transition,
            moves=tuple(move for part in parts for move in part.transition.moves),
            decisions=tuple(_begun(claimed.info, claimed.plan, d) if d.target in starts else d for d in told),
            terms=Terms(lease=self.deps.settings.lease_seconds, worker=self.deps.process),
        )

    def _follow(self, parts: Sequence[_Part], result: Transitioned) -> Written:
        """Go on with what was claimed, or with one of the steps that became ready; the others are to be published."""
        completion, done = parts[0].completion, parts[0].done
        info, plan = completion.claimed.info, completion.claimed.plan
        known = completion.known(done) if len(parts) == 1 else ()
        following = [claiming.started(info, plan, moved, known) for moved in result.started]
        queued = [target for target in result.targets if target.verdict == "queued"]
        taken: Target | None = None
        if completion.go_on and not following:
            taken = completion.next_of(queued)
        if taken is not None:
            with self.turns.of(info.id), self.deps.db.single() as session:
                claimed = claiming.claim(self.deps, session, info, taken.no, taken.attempt, known)
            if claimed is None:
                taken = None
            else:
                following.append(claimed)
        rest = lanes.admit(self.deps, info, plan, [t for t in queued if not t.in_chord and t is not taken])
        return Written(
            effects=[Wave(messages=tuple(message(info, target) for target in rest))] if rest else [],
            following=following,
            ended=frozenset(moved.no for moved in result.moved),
        )


def _begun(info: RunInfo, plan: Plan, decision: Decision) -> Decision:
    timeout = effective(info, plan.at(decision.target)).timeout
    return replace(decision, on_ready=OnReady.START, timeout=timeout)
