"""Workers whose every pause is the simulation's: between claim, body and completion the world goes on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from orchestrator.core.batches import SIZE
from orchestrator.core.effects import Message
from orchestrator.core.outcome import Cancelled
from orchestrator.services.batching import Known
from orchestrator.services.claiming import Claimed
from orchestrator.services.performing import Performed
from orchestrator.services.steps import Carrier

Work = Iterator[Claimed]


@dataclass(slots=True, kw_only=True, eq=False)
class Process:
    """A worker process. A frozen one does nothing until it thaws."""

    name: str
    frozen_until: float = 0.0
    dead: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SteppedCarrier(Carrier):
    """The carrier, in steps: `work` stops where time passes and where a process can die."""

    random: Random

    def work(self, message: Message, *, in_chord: bool, give_back: float) -> Work:
        """Like `carry`; yields what it holds before its body and before its completion."""
        claimed = self._claim(message)
        while claimed is not None:
            yield claimed
            performed = self.perform(claimed)
            if isinstance(performed, Performed) and self.random.random() < give_back:
                performed = replace(performed, outcome=Cancelled(), output=None)
            yield claimed
            go_on = not in_chord and self.random.random() < 0.6
            claimed = self.complete(claimed, performed, in_chord=in_chord, go_on=go_on)

    def work_all(self, together: Sequence[Message], *, give_back: float) -> Work:
        """Like `carry_all`: several are done before they are completed, as many as the simulation likes."""
        claimed, others = self._claim_all(together)
        hand, known = list(claimed), Known()
        while hand:
            taken = [hand.pop(0) for _ in range(self.random.randint(1, len(hand)))]
            done = []
            for each in taken:
                yield each
                performed = self.perform(each)
                if isinstance(performed, Performed) and self.random.random() < give_back:
                    performed = replace(performed, outcome=Cancelled(), output=None)
                done.append((each, performed))
            yield taken[-1]
            room = SIZE - len(hand) if self.random.random() < 0.6 else 0
            hand += self.finish(done, known, in_chord=False, room=room, empty=not hand)
        for message in others:
            yield from self.work(message, in_chord=False, give_back=give_back)
