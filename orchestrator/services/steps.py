"""Carrying a step: claim, body, completion, and what the same worker goes on with."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from models.database import OUTAGES
from models.moves import Target, Transition
from models.queries import transitions
from models.queries import unserved as places
from models.queries.leases import Held
from models.queries.runs import RunInfo
from orchestrator.core.effects import Effect, Message, Wave
from orchestrator.core.outcome import Waiting
from orchestrator.core.plan import Plan
from orchestrator.services import budgets, claiming, gates, inline, lanes, unserved
from orchestrator.services.advance import message
from orchestrator.services.claiming import BudgetRefusedError, Claimed, RunCache
from orchestrator.services.completing import Completion, Done
from orchestrator.services.crash import crash_point
from orchestrator.services.deps import Deps
from orchestrator.services.leases import LeaseKeeper
from orchestrator.services.performing import Performed, failed_to_store, names_of, perform
from orchestrator.services.turns import Turns

_log = structlog.get_logger(__name__)
CONTINUE_SECONDS = 0.3
FIRST_WAIT, LONGEST_WAIT = 0.05, 1.0
Send = Callable[[Sequence[Effect]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """One process's way of carrying steps. `send` publishes effects after a commit."""

    deps: Deps
    send: Send
    keeper: LeaseKeeper
    runs: RunCache = field(default_factory=RunCache)
    turns: Turns = field(default_factory=Turns)

    def carry(self, look: Message, *, in_chord: bool = False) -> None:
        """Look at a step: do it if it is still to be done, then go on with what became ready.

        `in_chord`: the message is a member of a chord, whose body carries the join on.
        """
        until = time.monotonic() + CONTINUE_SECONDS
        claimed = self.claim(look)
        if claimed is not None:
            self._work(claimed, until, in_chord=in_chord)

    def claim(self, look: Message) -> Claimed | None:
        """Begin an attempt of a step, if it is still to be done; what takes the message's place is sent."""
        claimed = self._claim(look)
        if claimed is not None:
            self._made_room(claimed.info, claimed.queue)
        return claimed

    def resume(self, look: Message) -> None:
        """Go on with a parked step under its attempt, if it still waits; its handler is executed again."""
        until = time.monotonic() + CONTINUE_SECONDS
        info = self.runs.get(self.deps.db, look.run_id)
        if info is None:
            return
        with self.turns.of(info.id), self.deps.db.transaction() as session:
            claimed = claiming.resume(self.deps, session, info, look.no, look.attempt)
            back = claimed is None and places.give_back(session, info.id, look.no, look.attempt)
        if claimed is not None:
            self._work(claimed, until)
        elif back:
            self._released(lambda: unserved.release(self.deps, info.workspace_id))

    def _work(self, first: Claimed, until: float, *, in_chord: bool = False) -> None:
        """Do a claimed attempt, then go on with what became ready, until `until` of `time.monotonic()`."""
        claimed: Claimed | None = first
        while claimed is not None:
            crash_point("after_claim")
            held = Held(claimed.info.id, claimed.no, claimed.attempt)
            claimed = replace(claimed, given_up=self.keeper.hold(held))
            try:
                performed = self.perform(claimed)
                crash_point("after_effect")
                go_on = not in_chord and time.monotonic() < until
                claimed = self.complete(claimed, performed, in_chord=in_chord, go_on=go_on)
            finally:
                self.keeper.release(held)

    def _made_room(self, info: RunInfo, queue: str) -> None:
        """A message was taken from its dispatch window: send what follows it."""
        self._released(lambda: lanes.after_claim(self.deps, info.workspace_id, queue))

    def _released(self, found: Callable[[], Sequence[Effect]]) -> None:
        """Send what has room now; where that can't be found out, a sweep does it."""
        try:
            self.send(found())
        except OUTAGES as error:
            _log.warning("nothing released", reason=type(error).__name__)

    def _claim(self, look: Message) -> Claimed | None:
        info = self.runs.get(self.deps.db, look.run_id)
        if info is None:
            return None
        plan = self._plan(info)
        begin = self.deps.db.transaction if info.has_budget else self.deps.db.single
        try:
            if plan.at(look.no).gated:
                return self._claim_gated(info, plan, look)
            with self.turns.of(info.id), begin() as session:
                return claiming.claim(self.deps, session, info, look.no, look.attempt)
        except BudgetRefusedError:
            self.send(budgets.refused(self.deps, look.run_id))
            return None

    def _plan(self, info: RunInfo) -> Plan:
        found = self.deps.plans.known(info.version_id)
        if found is not None:
            return found
        with self.deps.db.glance() as session:
            return self.deps.plans.get(session, info.version_id)

    def _claim_gated(self, info: RunInfo, plan: Plan, look: Message) -> Claimed | None:
        passing = gates.of(self.deps, info, plan, look)
        with self.turns.of(info.id), self.deps.db.transaction() as session:
            found = gates.claim(self.deps, session, info, plan, look, passing)
        if found is None or isinstance(found, Claimed):
            return found
        self.send(found)
        self._made_room(info, plan.at(look.no).queue)
        return None

    def perform(self, claimed: Claimed) -> Done:
        """The body of an attempt; nothing of what comes of it is written yet."""
        if claimed.node.body is not None:
            return inline.Contained()
        if claimed.node.inline:
            return _evaluate(self.deps, claimed)
        return perform(self.deps, claimed)

    def complete(
        self, claimed: Claimed, done: Done, *, in_chord: bool = False, go_on: bool = False
    ) -> Claimed | None:
        """Write what came of an attempt and send what follows; the step to go on with, where `go_on` allows one."""
        completion = Completion(deps=self.deps, claimed=claimed, in_chord=in_chord, go_on=go_on)
        try:
            effects, following = self._stored(completion, done)
        except OUTAGES:
            raise
        except Exception as error:
            _log.exception("outcome not stored", run=claimed.info.id, step=claimed.path)
            effects, following = self._stored(completion, failed_to_store(claimed, error))
        crash_point("after_commit")
        self.send(effects)
        if claimed.node.pool is not None:
            self._released(lambda: lanes.after_end(self.deps, claimed))
        if not _parks(done):
            self._released(lambda: unserved.after_end(self.deps, claimed))
        return following

    def _stored(
        self, completion: Completion, done: Done
    ) -> tuple[Sequence[Effect], Claimed | None]:
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

    def _write(
        self, completion: Completion, done: Done
    ) -> tuple[Sequence[Effect], Claimed | None]:
        info = completion.claimed.info
        alone = completion.alone(done)
        queued = None if alone is None else self._apply(alone)
        if queued is not None:
            return self._rest(completion, done, queued)
        try:
            with self.turns.of(info.id), self.deps.db.transaction() as session:
                found = completion.write(session, done)
                crash_point("before_commit")
        except BudgetRefusedError:
            with self.turns.of(info.id), self.deps.db.transaction() as session:
                found = replace(completion, go_on=False).write(session, done)
        return found

    def _apply(self, transition: Transition) -> list[Target] | None:
        """Complete by one statement: the steps that it queued, None when it was refused."""
        with self.turns.of(transition.run_id), self.deps.db.single() as session:
            crash_point("before_commit")
            result = transitions.apply(session, transition)
        if result is None or not result.moved:
            return None
        return [target for target in result.targets if target.verdict == "queued"]

    def _rest(
        self, completion: Completion, done: Done, queued: list[Target]
    ) -> tuple[Sequence[Effect], Claimed | None]:
        """Go on with one of the steps that became ready; the others are to be published."""
        info, following = completion.claimed.info, None
        target = completion.next_of(queued) if completion.go_on else None
        if target is not None:
            with self.turns.of(info.id), self.deps.db.single() as session:
                known = completion.known(done)
                following = claiming.claim(self.deps, session, info, target.no, target.attempt, known=known)
        ready = [t for t in queued if not t.in_chord and (following is None or t is not target)]
        rest = lanes.admit(self.deps, info, completion.claimed.plan, ready)
        return ([Wave(messages=tuple(message(info, t) for t in rest))] if rest else []), following


def _parks(done: Done) -> bool:
    return isinstance(done, Performed) and isinstance(done.outcome, Waiting)


def _evaluate(deps: Deps, claimed: Claimed) -> inline.Inlined:
    """An inline node that travelled as a message: evaluated by the worker, outside of the transaction."""
    names = names_of(deps, claimed)
    target = inline.as_target(claimed.no, claimed.path, claimed.attempt - 1, claimed.queue, claimed.live_in)
    return inline.evaluate(deps, claimed.node, claimed.plan, names, target, claimed.info)
