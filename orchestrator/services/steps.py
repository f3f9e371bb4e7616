"""Carrying a step: claim, body, completion, and what the same worker goes on with."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import structlog

from models.database import OUTAGES
from models.queries import unserved as places
from models.queries.leases import Held
from models.queries.runs import RunInfo
from orchestrator.core import batches
from orchestrator.core.effects import Effect, Message
from orchestrator.core.outcome import Cancelled, Waiting
from orchestrator.core.plan import Plan
from orchestrator.services import batching, budgets, claiming, gates, inline, lanes, unserved
from orchestrator.services.batching import Known
from orchestrator.services.claiming import BudgetRefusedError, Claimed
from orchestrator.services.completing import Completion, Done
from orchestrator.services.crash import crash_point
from orchestrator.services.deps import Deps
from orchestrator.services.leases import LeaseKeeper
from orchestrator.services.performing import Performed, failed_to_store, names_of, perform
from orchestrator.services.storing import Storing
from orchestrator.services.turns import Turns

_log = structlog.get_logger(__name__)
CONTINUE_SECONDS = 0.3
FLUSH_SECONDS = 0.01
Send = Callable[[Sequence[Effect]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """One process's way of carrying steps. `send` publishes effects after a commit.

    continue_seconds: for how long a message goes on with what becomes ready. flush_seconds: how long what came of
    the first of several steps waits to be written at most.
    """

    deps: Deps
    send: Send
    keeper: LeaseKeeper
    continue_seconds: float = CONTINUE_SECONDS
    flush_seconds: float = FLUSH_SECONDS
    turns: Turns = field(default_factory=Turns)

    @property
    def storing(self) -> Storing:
        """How what came of bodies is written."""
        return Storing(deps=self.deps, turns=self.turns)

    def carry(self, look: Message, *, in_chord: bool = False) -> None:
        """Look at a step: do it if it is still to be done, then go on with what became ready.

        `in_chord`: the message is a member of a chord, whose body carries the join on.
        """
        until = time.monotonic() + self.continue_seconds
        claimed = self.claim(look)
        if claimed is not None:
            self._work([claimed], until, in_chord=in_chord)

    def carry_all(self, looks: Sequence[Message]) -> None:
        """Look at cheap steps of one run that came together, and go on with what became ready."""
        until = time.monotonic() + self.continue_seconds
        claimed, others = self._claim_all(looks)
        if claimed:
            self._work(claimed, until)
        for look in others:
            self.carry(look)

    def claim(self, look: Message) -> Claimed | None:
        """Begin an attempt of a step, if it is still to be done; what takes the message's place is sent."""
        claimed = self._claim(look)
        if claimed is not None:
            self._made_room(claimed.info, claimed.queue)
        return claimed

    def _claim_all(self, looks: Sequence[Message]) -> tuple[list[Claimed], list[Message]]:
        """The steps that were begun by one statement, and those that must not be."""
        info = self.deps.runs.get(looks[0].run_id)
        if info is None:
            return [], []
        together, others = batching.split(self.deps, info, self._plan(info), looks)
        if not together:
            return [], others
        with self.turns.of(info.id):
            found = self._claimed(info, together)
        if found:
            self._made_room(info, found[0].queue, len(found))
        return found, others

    def _claimed(self, info: RunInfo, looks: Sequence[Message]) -> list[Claimed]:
        with self.deps.db.single() as session:
            return claiming.claim_all(self.deps, session, info, [(look.no, look.attempt) for look in looks])

    def resume(self, look: Message) -> None:
        """Go on with a parked step under its attempt, if it still waits; its handler is executed again."""
        until = time.monotonic() + self.continue_seconds
        info = self.deps.runs.get(look.run_id)
        if info is None:
            return
        with self.turns.of(info.id), self.deps.db.transaction() as session:
            claimed = claiming.resume(self.deps, session, info, look.no, look.attempt)
            back = claimed is None and places.give_back(session, info.id, look.no, look.attempt)
        if claimed is not None:
            self._work([claimed], until)
        elif back:
            self._released(lambda: unserved.release(self.deps, info.workspace_id))

    def _work(
        self, first: Sequence[Claimed], until: float, *, in_chord: bool = False
    ) -> None:
        """Do claimed attempts, then go on with what became ready, until `until` of `time.monotonic()`.

        What came of cheap ones is written together.
        """
        hand, known = deque(first), Known()
        while hand:
            hand = self._prepared(hand, known)
            held: list[Held] = []
            try:
                done = self._perform_some(hand, held, until)
                room = batches.SIZE - len(hand) if not in_chord and time.monotonic() < until else 0
                hand.extend(self.finish(done, known, in_chord=in_chord, room=room, empty=not hand))
            finally:
                self.keeper.release(*held)

    def _perform_some(
        self, hand: deque[Claimed], held: list[Held], until: float
    ) -> list[tuple[Claimed, Done]]:
        """Do the next of the steps at hand; those that have waited for too long behind a slow one are given back."""
        done: list[tuple[Claimed, Done]] = []
        began = time.monotonic()
        while hand and (not done or time.monotonic() < began + self.flush_seconds):
            claimed = hand.popleft()
            crash_point("after_claim")
            held.append(Held(claimed.info.id, claimed.no, claimed.attempt))
            claimed = replace(claimed, given_up=self.keeper.hold(held[-1]))
            late = time.monotonic() > until + self.continue_seconds and (done or hand)
            performed = Performed(outcome=Cancelled()) if late else self.perform(claimed)
            crash_point("after_effect")
            done.append((claimed, performed))
        return done

    def _prepared(self, hand: deque[Claimed], known: Known) -> deque[Claimed]:
        """The steps at hand with the rows that their bodies need; each reads its own where that fails."""
        try:
            return deque(known.ahead(self.deps, hand))
        except OUTAGES as error:
            _log.warning("rows not read ahead", reason=type(error).__name__)
            return hand

    def _made_room(self, info: RunInfo, queue: str, claims: int = 1) -> None:
        """Messages were taken from their dispatch window: send what follows them."""
        self._released(lambda: lanes.after_claim(self.deps, info.workspace_id, queue, claims))

    def _released(self, found: Callable[[], Sequence[Effect]]) -> None:
        """Send what has room now; where that can't be found out, a sweep does it."""
        try:
            self.send(found())
        except OUTAGES as error:
            _log.warning("nothing released", reason=type(error).__name__)

    def _claim(self, look: Message) -> Claimed | None:
        info = self.deps.runs.get(look.run_id)
        if info is None:
            return None
        plan = self._plan(info)
        node = plan.at(look.no)
        if batches.claimed_with_others(node) and not info.has_budget:
            return self.turns.together(info.id, "claim", look, partial(self._each, info))
        begin = self.deps.db.transaction if info.has_budget else self.deps.db.single
        try:
            if node.gated:
                return self._claim_gated(info, plan, look)
            with self.turns.of(info.id), begin() as session:
                return claiming.claim(self.deps, session, info, look.no, look.attempt)
        except BudgetRefusedError:
            self.send(budgets.refused(self.deps, look.run_id))
            return None

    def _each(self, info: RunInfo, looks: Sequence[Message]) -> list[Claimed | None]:
        """Claim steps for several threads: each of the looks gets its own, or None."""
        found = {(claimed.no, claimed.attempt - 1): claimed for claimed in self._claimed(info, looks)}
        return [found.pop((look.no, look.attempt), None) for look in looks]

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
        completion = Completion(deps=self.deps, claimed=claimed, in_chord=in_chord, room=int(go_on))
        following = self._complete(completion, done)
        return following[0] if following else None

    def finish(
        self, done: Sequence[tuple[Claimed, Done]], known: Known, *, in_chord: bool, room: int, empty: bool
    ) -> list[Claimed]:
        """Write what came of attempts of one run, together as far as that goes, and send what follows.

        The steps to go on with: cheap ones, `room` at most, or else one, if no other is at hand (`empty`).
        """
        many = [
            (Completion(deps=self.deps, claimed=claimed, in_chord=in_chord, room=room, empty=empty), each)
            for claimed, each in done
        ]
        following: list[Claimed] = []
        if len(many) > 1:
            written = self.storing.together(many)
            crash_point("after_commit")
            self.send(written.effects)
            following += written.following
            known.add([row for c, each in many if c.claimed.no in written.ended for row in c.known(each)])
            many = [(c, each) for c, each in many if c.claimed.no not in written.ended]
        for completion, each in many:
            alone = empty and not following and len(many) == 1
            left = max(0, room - len(following))
            following += self._complete(replace(completion, room=left, empty=alone), each)
        return following

    def _complete(self, completion: Completion, done: Done) -> Sequence[Claimed]:
        claimed = completion.claimed
        try:
            written = self.storing.one(completion, done)
        except OUTAGES:
            raise
        except Exception as error:
            _log.exception("outcome not stored", run=claimed.info.id, step=claimed.path)
            written = self.storing.one(completion, failed_to_store(claimed, error))
        crash_point("after_commit")
        self.send(written.effects)
        if claimed.node.pool is not None:
            self._released(lambda: lanes.after_end(self.deps, claimed))
        if not _parks(done):
            self._released(lambda: unserved.after_end(self.deps, claimed))
        return written.following


def _parks(done: Done) -> bool:
    return isinstance(done, Performed) and isinstance(done.outcome, Waiting)


def _evaluate(deps: Deps, claimed: Claimed) -> inline.Inlined:
    """An inline node that travelled as a message: evaluated by the worker, outside of the transaction."""
    names = names_of(deps, claimed)
    target = inline.as_target(claimed.no, claimed.path, claimed.attempt - 1, claimed.queue, claimed.live_in)
    return inline.evaluate(deps, claimed.node, claimed.plan, names, target, claimed.info)
