"""Carrying an engine's messages in any order, some of them twice, with timers firing in between."""

from random import Random

from orchestrator.services import sweeps
from tests.support.engine import Engine


def drain(engine: Engine, random: Random, *, twice: float = 0.2) -> None:
    """Carry messages in an order that `random` decides until none is left; a chord's body after its members."""
    while engine.inbox:
        carry_one(engine, random, twice)


def drive(engine: Engine, random: Random, *, twice: float = 0.2) -> None:
    """The same, until no timer is left either."""
    while engine.inbox or engine.timers:
        if engine.timers and (not engine.inbox or random.random() < 0.3):
            timer = engine.timers.pop(random.randrange(len(engine.timers)))
            engine.send(sweeps.wake(engine.deps, timer))
        else:
            carry_one(engine, random, twice)


def carry_one(engine: Engine, random: Random, twice: float = 0.2) -> None:
    """Carry one of the messages, maybe twice."""
    place = random.choice(_deliverable(engine))
    message, in_chord = engine.inbox.pop(place)
    engine.carrier.carry(message, in_chord=in_chord)
    if random.random() < twice:
        engine.carrier.carry(message, in_chord=in_chord)


def _deliverable(engine: Engine) -> list[int]:
    there = [message for message, _ in engine.inbox]
    waiting = [
        wave.join
        for wave in engine.waves
        if wave.join is not None and any(message in there for message in wave.messages)
    ]
    return [place for place, message in enumerate(there) if message not in waiting]
