"""Carrying an engine's messages in any order, some of them twice, with timers firing in between."""

from random import Random

from orchestrator.services import sweeps
from tests.support.engine import Engine

BATCHED = 0.4


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
    """Carry one of the messages, maybe twice, or with it others of its run as if they were cheap and came together."""
    engine.paces.all_cheap = random.random() < BATCHED
    there = _deliverable(engine)
    place = random.choice(there)
    message, in_chord = engine.inbox[place]
    places = [place]
    if engine.paces.all_cheap and not in_chord:
        places = [other for other in there if _travels(engine, other, message.run_id)]
        places = random.sample(places, random.randint(1, len(places)))
    taken = [engine.inbox[place] for place in places]
    for place in sorted(places, reverse=True):
        del engine.inbox[place]
    for _ in range(1 + (random.random() < twice)):
        if len(taken) > 1:
            engine.carrier.carry_all([message for message, _ in taken])
        else:
            engine.carrier.carry(*taken[0][:1], in_chord=taken[0][1])


def _travels(engine: Engine, place: int, run_id: str) -> bool:
    message, in_chord = engine.inbox[place]
    return message.run_id == run_id and not in_chord


def _deliverable(engine: Engine) -> list[int]:
    there = [message for message, _ in engine.inbox]
    waiting = [
        wave.join
        for wave in engine.waves
        if wave.join is not None and any(message in there for message in wave.messages)
    ]
    return [place for place, message in enumerate(there) if message not in waiting]
