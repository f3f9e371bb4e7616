"""How a process knows which node types are cheap, and how the others hear of it."""

from models.database import Database
from orchestrator.core.batches import CHEAP_SECONDS
from orchestrator.core.effects import Wave
from orchestrator.services import batching, consumers, lanes
from orchestrator.services.paces import ENOUGH, Paces
from orchestrator.services.windows import Windows
from tests.support import engine

QUICK, SLOW = CHEAP_SECONDS / 10, CHEAP_SECONDS * 10


def seen(type_: str, *seconds: float) -> Paces:
    paces = Paces()
    for each in seconds:
        paces.took(type_, each)
    return paces


def test_a_type_is_cheap_when_enough_calls_were() -> None:
    assert not Paces().cheap("t")
    assert not seen("t", *[QUICK] * (ENOUGH - 1)).cheap("t")
    assert seen("t", *[QUICK] * ENOUGH).cheap("t")
    assert not seen("t", *[SLOW] * ENOUGH).cheap("t")


def test_one_call_that_had_to_wait_makes_no_type_slow() -> None:
    assert seen("t", *[QUICK] * 5, 1.0).cheap("t")


def test_a_type_that_becomes_slow_is_no_longer_cheap() -> None:
    assert not seen("t", *[QUICK] * 50, *[SLOW] * 10).cheap("t")


def test_what_was_seen_counts_before_what_was_heard() -> None:
    paces = seen("slow", *[SLOW] * ENOUGH)
    paces.hear({"slow", "other"})
    assert not paces.cheap("slow")
    assert paces.cheap("other")
    paces.hear(())
    assert not paces.cheap("other")


def test_a_process_that_starts_runs_hears_of_it_with_the_window(database: Database) -> None:
    definition = {"name": "w", "nodes": [{"id": f"n{n}", "type": "nothing"} for n in range(3)]}
    worker, api = engine.make(database), engine.make(database)
    vars(worker.deps)["paces"], vars(api.deps)["paces"] = seen("nothing", *[QUICK] * ENOUGH), Paces()
    consumers.announce(worker.deps, ["steps"], 8)
    api.publish(definition)
    vars(api.deps)["windows"] = Windows()
    api.start("w")
    (wave,) = api.waves
    assert [message.cheap for message in wave.messages] == [False] * 3
    assert [message.cheap for message in batching.marked(api.deps, wave).messages] == [True] * 3
    consumers.withdraw(worker.deps)
    vars(api.deps)["windows"] = Windows()
    with database.read() as session:
        lanes.window(api.deps, session, "steps")
    assert [message.cheap for message in batching.marked(api.deps, wave).messages] == [False] * 3


def test_a_wave_of_one_or_of_a_chord_is_as_it_was(database: Database) -> None:
    ours = engine.make(database)
    ours.paces.all_cheap = True
    ours.publish({"name": "w", "nodes": [{"id": f"n{n}", "type": "nothing"} for n in range(3)]})
    ours.start("w")
    (wave,) = ours.waves
    one = Wave(messages=wave.messages[:1])
    joined = Wave(messages=wave.messages[:2], join=wave.messages[2])
    assert batching.marked(ours.deps, one) == one
    assert batching.marked(ours.deps, joined) == joined
