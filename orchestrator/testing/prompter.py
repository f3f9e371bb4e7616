"""The prompter: carries a run as its log says, event by event, so that all happens at its recorded place.

An attempt begins where the log has it begin, and what came of it is written where the log has it end; what the log
does not know begins when it is ready. When the log is over, the rest goes on by itself.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from models.errors import OrchestratorError
from orchestrator.core.effects import Message, Timer
from orchestrator.core.outcome import Cancelled, Paused, Waiting
from orchestrator.services import sweeps, timing_out, upcoming, waking
from orchestrator.services.claiming import Claimed
from orchestrator.services.performing import Performed
from orchestrator.services.upcoming import Kind, Moment
from orchestrator.testing.clock import instant
from orchestrator.testing.outcomes import Call, Said
from orchestrator.testing.run import Run
from orchestrator.testing.score import RUN_AGAIN, Act, Score
from orchestrator.testing.stagehand import NEVER, ROUNDING, Held, Stagehand

# What a container does in its turn, and what ends it before its next one.
_TURNS = ("branch.started", "branch.reopened", "step.completed", "step.failed", "step.retrying")
_ENDED = ("step.aborted", "step.skipped")
# What a step does that takes no time, in the transaction of the one before it.
_AT_ONCE = ("container.opened", "step.completed", "step.failed")
_PARKED = Waiting(reason="what its history says")


@dataclass(slots=True, kw_only=True)
class Prompter:
    """Plays a score to a run. unknown: attempts of which it says nothing; refused: acts that the engine refused, with
    what it said."""

    hand: Stagehand
    score: Score
    unknown: list[Call] = field(default_factory=list)
    refused: list[tuple[Act, str]] = field(default_factory=list)
    _begun: Counter[str] = field(default_factory=Counter)
    _left: Counter[str] = field(default_factory=Counter)
    _missed: Counter[str] = field(default_factory=Counter)
    _turns: Counter[str] = field(default_factory=Counter)
    _ready: dict[str, Message] = field(default_factory=dict)
    _held: dict[str, Held] = field(default_factory=dict)
    _at_once: bool = False
    _over: bool = False

    def say(self, call: Call) -> Said | Waiting | None:
        """What the history says to a call; the engine's own types are not asked."""
        if call.type in RUN_AGAIN:
            return None
        number = self._number(call.path)
        if number is None:
            self.unknown.append(call)
            return _PARKED
        outcome = self.score.outcome(call.path, number)
        parks = not self._at_once and (call.path, number) in self.score.parked
        return _PARKED if outcome is None or parks else Said(outcome=outcome)

    def _number(self, path: str) -> int | None:
        """The recorded number of the attempt of a step that was begun last."""
        return self.score.nth(path, self._begun[path] - 1)

    def play(self, start: Callable[[], Run]) -> Run:
        """Start the run and carry it to the end of the log, and on to its own end where the recorded run had one."""
        events = self.score.history["events"]
        self._left.update(event["step"] for event in events if event["type"] == "step.started")
        self._turns.update(event["step"] for event in events if event["type"] in _TURNS + _ENDED)
        self.hand.receive, self.hand.prompted = self._receive, True
        run = start()
        for event in events:
            self.hand.clock.move_to(instant(event["at"]))
            self._wake(self._is_unknown_round)
            self._follow(run, event)
            self.hand.drain()
        if self.score.history["run"]["finished_at"] is not None:
            self._let_go()
        return run

    def _is_unknown_round(self, moment: Moment) -> bool:
        """Whether a container is to go on now, and the log does not say when."""
        is_due = moment.kind is Kind.ROUND and moment.at <= self.hand.clock.now() + ROUNDING
        return is_due and not self._turns[moment.path or ""]

    def _is_turn(self, moment: Moment, data: dict[str, Any]) -> bool:
        """Whether what a container is to do now has not happened yet: a body without work goes on at once."""
        begun = upcoming.opened(self.hand.deps, moment.run_id, moment.no) if "position" in data else 0
        return moment.kind is Kind.ROUND and begun <= data.get("position", 0)

    def _receive(self, message: Message) -> None:
        """A step that the log has begin later, or not any more, waits; one whose place is over begins."""
        path = message.path
        late = self._left[path] == 0 and self._missed[path] > 0
        if late or self._over or not self.score.knows(path):
            self._missed[path] -= 1
            self._begin(message, at_once=True)
        else:
            self._ready[path] = message

    def _begin(self, message: Message, *, at_once: bool = False) -> None:
        self.hand.count()
        claimed = self.hand.carrier.claim(message)
        if claimed is None:
            return
        self._begun[message.path] += 1
        self._at_once = at_once
        held = Held(claimed=claimed, done=self.hand.carrier.perform(claimed), until=NEVER)
        if at_once or claimed.node.body is not None:
            self._complete(held)
        else:
            self._held[message.path] = held

    def _complete(self, held: Held) -> None:
        self.hand.carrier.complete(held.claimed, held.done)

    def _follow(self, run: Run, event: dict[str, Any]) -> None:
        act = self.score.acts.get(event["seq"])
        if act is not None:
            self._do(run, act)
        path, data = event.get("step", ""), event["data"]
        if event["type"] in _AT_ONCE and path in self._ready:
            self._begin(self._ready.pop(path), at_once=True)
        if event["type"] in _TURNS + _ENDED:
            self._turns[path] -= 1
        if event["type"] in _TURNS:
            self._wake(lambda moment: moment.path == path and self._is_turn(moment, data))
        match event["type"]:
            case "step.started":
                self._left[path] -= 1
                if path in self._ready:
                    self._begin(self._ready.pop(path))
                else:
                    self._missed[path] += 1
            case "step.queued" if path in self._held and "reason" in data:
                self._complete(replace(self._held.pop(path), done=Performed(outcome=Cancelled())))
            case "step.queued" if data["attempt"] > 0:
                self._wake(lambda moment: moment.kind is Kind.RETRY and moment.path == path)
            case "step.waiting" if path in self._held and _parks(self._held[path]):
                self._complete(self._held.pop(path))
            case "step.completed" | "step.failed" | "step.retrying":
                self._end(run, path, data)

    def _end(self, run: Run, path: str, data: dict[str, Any]) -> None:
        """What came of an attempt is written: it works, or waits."""
        held = self._held.pop(path, None)
        if held is not None and (data.get("error") or {}).get("code") == "WORKER_LOST":
            held = replace(held, claimed=_without_retry(held.claimed))
        if held is not None:
            self._complete(held)
        number, waits = self._number(path), upcoming.parked(self.hand.deps, run.id, path)
        outcome = None if number is None else self.score.outcome(path, number)
        if outcome is not None and waits is not None:
            self.hand.send(waking.settle(self.hand.deps, run.id, *waits, outcome))

    def _wake(self, wanted: Callable[[Moment], bool]) -> None:
        """Whatever of this kind is due, in the log's time."""
        for moment in upcoming.outlook(self.hand.deps).moments:
            if wanted(moment):
                timer = Timer(run_id=moment.run_id, no=moment.no, attempt=moment.attempt, seconds=0.0)
                self.hand.send(sweeps.wake(self.hand.deps, timer))

    def _do(self, run: Run, act: Act) -> None:
        try:
            _apply(self.hand, run, act)
        except (OrchestratorError, AssertionError) as error:
            self.refused.append((act, str(error)))

    def _let_go(self) -> None:
        """The log is over: what it has not told yet happens, then time passes by itself."""
        self._over = True
        for held in self._held.values():
            self._complete(held)
        self._held.clear()
        for message in list(self._ready.values()):
            self._begin(message, at_once=True)
        self.hand.auto_skip, self.hand.prompted = True, False
        self.hand.settle()


def _parks(held: Held) -> bool:
    return isinstance(held.done, Performed) and isinstance(held.done.outcome, Waiting | Paused)


def _without_retry(claimed: Claimed) -> Claimed:
    """A step that cost three workers their life is not tried again, whatever its policy."""
    node = claimed.node
    return replace(claimed, node=replace(node, retry=replace(node.retry, policy="never")))


def _apply(hand: Stagehand, run: Run, act: Act) -> None:
    step, told = act.step or "", {"reason": act.reason, "by": act.by}
    match act.name:
        case "timeout":
            hand.clock.move_to(hand.clock.now() + 1.0)  # clocks of two machines
            hand.send(timing_out.timeouts(hand.deps).effects)
        case "pause" | "abort":
            getattr(run, act.name)(**told)
        case "resume":
            run.resume(act.given, by=act.by)
        case "set":
            run.set(act.given, **told)
        case "override" | "complete":
            getattr(run, act.name)(step, act.given, **told)
        case _:
            getattr(run, act.name)(step, **told)
