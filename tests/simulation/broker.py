"""A broker that loses, doubles, delays and reorders messages, and forgets chords."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from models.queries import steps
from orchestrator.core.effects import Effect, Message, Relay, Stop, Timer, Wave
from orchestrator.services.deps import Deps
from tests.simulation.faults import Faults

Later = Callable[[float, Callable[[], None]], None]


@dataclass(slots=True, eq=False)
class Chord:
    """How many members have yet to end before the body goes out."""

    body: Message
    left: int


@dataclass(slots=True, kw_only=True)
class Broker:
    """`send` is what workers send with. `deliver`, `stop` and `wake` are called when something arrives.

    A doubled member counts twice, as a redelivered one does: its chord's body comes too early then.
    """

    deps: Deps
    random: Random
    faults: Faults
    later: Later
    fate: Callable[[str], None]
    deliver: Callable[[tuple[Message, ...], Chord | None, bool], None]
    stop: Callable[[int], None]
    relay: Callable[[int], None]
    wake: Callable[[Timer], None]
    under_way: dict[str, int] = field(default_factory=dict)

    def send(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            self.fate("before send")
            match effect:
                case Wave():
                    self._wave(effect)
                case Stop(outbox_id=outbox_id):
                    if self.random.random() >= self.faults.lose:
                        self.later(self._delay(), lambda entry=outbox_id: self.stop(entry))
                case Relay(outbox_id=outbox_id):
                    for _ in range(self._copies()):
                        self.later(self._delay(), lambda entry=outbox_id: self.relay(entry))
                case Timer(seconds=seconds):
                    self.later(seconds, lambda timer=effect: self.wake(timer))

    def _copies(self) -> int:
        """How often a message that is no step's arrives."""
        if self.random.random() < self.faults.lose:
            return 0
        return 2 if self.random.random() < self.faults.double else 1

    def ended(self, chord: Chord | None) -> None:
        """A member's task has ended, whatever came of its step: the result backend counts it."""
        if chord is not None:
            chord.left -= 1
            if chord.left == 0:
                self._put((chord.body,), None, is_body=True)

    def backlog(self, queue: str) -> int:
        """The length of a queue, as the sweep asks for it."""
        return self.under_way.get(queue, 0)

    def _wave(self, wave: Wave) -> None:
        if self.random.random() < self.faults.refuse:
            self._refused(wave)
            return
        chord = None if wave.join is None else Chord(wave.join, len(wave.messages))
        if chord is None and len(wave.messages) > 1 and self.random.random() < self.faults.batch:
            self._put(wave.messages, None)
            return
        for message in wave.messages:
            self._put((message,), chord)

    def _refused(self, wave: Wave) -> None:
        """What the sender does when it cannot publish."""
        run_id = wave.messages[0].run_id
        with self.deps.db.transaction() as session:
            steps.unsend(session, run_id, [message.no for message in wave.messages])
        if wave.join is not None:
            with self.deps.db.transaction() as session:
                steps.off_chord(session, run_id, wave.join.no)

    def _put(self, together: tuple[Message, ...], chord: Chord | None, *, is_body: bool = False) -> None:
        copies = 0 if self.random.random() < self.faults.lose else 1
        copies += copies and self.random.random() < self.faults.double
        queue = together[0].queue
        for _ in range(copies):
            self.under_way[queue] = self.under_way.get(queue, 0) + 1
            self.later(self._delay(), lambda: self._arrive(together, chord, is_body))

    def _arrive(self, together: tuple[Message, ...], chord: Chord | None, is_body: bool) -> None:
        self.under_way[together[0].queue] -= 1
        self.deliver(together, chord, is_body)

    def _delay(self) -> float:
        return self.random.expovariate(1 / self.faults.delay)
