"""The sweep that feeds the event bus: all events, in order, at least once, whatever becomes of bus and sweeps."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import pytest

from models.database import Database
from models.errors import NotFoundError, UnavailableError
from models.event import Subscriber
from models.queries import held_places, journal, operational, retention
from orchestrator.bus import BusParts, Message
from orchestrator.drivers.bus_memory import MemoryBus
from orchestrator.services import bus_feed, health, sweeps
from orchestrator.services.journal_replay import Replay, replayed
from orchestrator.services.subscribing import Follower, Patience
from orchestrator.settings import Settings
from tests.support import engine
from tests.support.engine import Engine
from tests.support.polling import poll
from tests.support.soundness import assert_run_sound

WORK: dict[str, Any] = {
    "name": "work",
    "nodes": [{"id": name, "type": "probe"} for name in ("a", "b", "c")],
    "edges": ["a >> [b, c]"],
}


@dataclass
class Shaky(MemoryBus):
    """A bus of this process that can be away; `published` has what it got."""

    away: bool = False
    published: list[Message] = field(default_factory=list)
    pause: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(BusParts(settings=Settings(), url="memory://"))
        self.pause.set()

    def publish(self, messages: Sequence[Message]) -> None:
        self.pause.wait(10)
        if self.away:
            raise UnavailableError("the event bus is away")
        self.published += messages
        super().publish(messages)


@pytest.fixture
def shaky() -> Shaky:
    return Shaky()


@pytest.fixture
def made(database: Database, shaky: Shaky) -> Engine:
    found = engine.make(database)
    found.deps.__dict__["bus"] = shaky  # as `Deps.bus` keeps the one that it makes
    found.publish(WORK)
    sweeps.run(found.deps, "bus")  # its place begins at the journal's end
    return found


def feed(made: Engine) -> int:
    return bus_feed.feed(made.deps).found


def test_a_bus_far_behind_reads_past_runs_that_have_left(made: Engine, shaky: Shaky) -> None:
    left, kept = made.run("work"), made.run("work")
    readable(made, [left, kept])
    with made.deps.db.transaction() as session:
        assert retention.leave(session, [left], time.time() + 3600, 1) == 1  # its events are there yet
    feed(made)
    assert {message.run_id for message in shaky.published} == {kept}
    sweeps.run(made.deps, "retention")


def readable(made: Engine, run_ids: Sequence[str]) -> None:
    """Wait until the journal shows all of these runs' events: older transactions of the server hold them back."""
    wanted = {f"{run_id}:{made.row(run_id).seq}" for run_id in run_ids}
    poll(lambda: wanted <= {message.id for message in replayed(made.deps, Replay())}, 20)


def fed(made: Engine, shaky: Shaky, run_ids: Sequence[str]) -> None:
    """Feed until all of these runs' events are there: those of a moment wait for older transactions of the server."""
    wanted = {f"{run_id}:{made.row(run_id).seq}" for run_id in run_ids}

    def there() -> bool:
        feed(made)
        return wanted <= {message.id for message in shaky.published}

    poll(there, 20, "the last event of each run")


def assert_whole(messages: Sequence[Message], made: Engine, run_ids: Sequence[str]) -> None:
    """Each run's events are there from the first to the last, in order; the invariants hold."""
    seqs: dict[str, list[int]] = {}
    for message in messages:
        if message.run_id is not None:
            seqs.setdefault(message.run_id, []).append(message.event["seq"])
    for run_id in run_ids:
        assert seqs[run_id] == list(range(1, made.row(run_id).seq + 1))
        assert_run_sound(made.deps, run_id)


def test_every_event_is_published_in_order_as_the_api_shows_it(made: Engine, shaky: Shaky) -> None:
    run_ids = [made.run("work") for _ in range(3)]
    fed(made, shaky, run_ids)
    assert_whole(shaky.published, made, run_ids)
    first, last = shaky.published[0].event, shaky.published[-1].event
    assert (first["type"], first["seq"], first["workspace_id"]) == ("run.created", 1, made.actor.workspace_id)
    assert set(last) == {"seq", "type", "run_id", "at", "data", "workspace_id"}
    assert last["type"] == "run.completed"
    assert feed(made) == 0


def test_events_of_no_run_have_ids_that_stay(made: Engine, shaky: Shaky) -> None:
    with made.deps.db.transaction() as session:
        operational.note(session, "agent.online", [(made.actor.workspace_id, {"agent_id": "a"})])
    poll(lambda: feed(made))
    (message,) = shaky.published
    assert (message.type, message.run_id, message.event["seq"]) == ("agent.online", None, None)
    assert message.id.startswith("event:")


def test_a_bus_that_is_away_costs_runs_nothing_and_loses_nothing(made: Engine, shaky: Shaky) -> None:
    shaky.away = True
    run_ids = [made.run("work")]
    poll(lambda: feed(made) == 0 and "bus" in health.missing(made.deps))
    run_ids.append(made.run("work"))
    assert {made.row(run_id).status for run_id in run_ids} == {"success"}
    shaky.away = False
    fed(made, shaky, run_ids)
    assert_whole(shaky.published, made, run_ids)
    assert "bus" not in health.missing(made.deps)


def test_a_bus_that_is_away_is_not_tried_by_every_sweep(made: Engine, shaky: Shaky) -> None:
    made.run("work")
    shaky.away = True
    poll(lambda: feed(made) == 0 and "bus" in health.missing(made.deps))
    shaky.away = False
    assert feed(made) == 0
    assert shaky.published == []


def test_of_two_sweeps_at_once_one_publishes(made: Engine, shaky: Shaky) -> None:
    run_ids = [made.run("work") for _ in range(2)]
    readable(made, run_ids)
    shaky.pause.clear()
    first = threading.Thread(target=feed, args=(made,))
    first.start()
    poll(lambda: _held(made))
    assert feed(made) == 0
    shaky.pause.set()
    first.join()
    fed(made, shaky, run_ids)
    assert_whole(shaky.published, made, run_ids)


def test_a_sweep_that_died_is_followed_when_its_lease_is_over(made: Engine, shaky: Shaky) -> None:
    """What it had published comes again, from the first on."""
    run_ids = [made.run("work")]
    with made.deps.db.transaction() as session:
        place = held_places.hold(session, bus_feed.NAME, "dead", 0.3)
    assert place is not None
    assert feed(made) == 0
    fed(made, shaky, run_ids)
    assert_whole(shaky.published, made, run_ids)


def test_a_sweep_that_lost_its_place_moves_nothing(made: Engine) -> None:
    made.run("work")
    with made.deps.db.transaction() as session:
        place = held_places.hold(session, bus_feed.NAME, "slow", 0.0)
        assert place is not None
        later = replace(place, xid=place.xid + 1)
    poll(lambda: _taken(made, "other"))
    with made.deps.db.transaction() as session:
        assert not held_places.go_on(session, bus_feed.NAME, "slow", (place, later), 1.0)
        held_places.let_go(session, bus_feed.NAME, "slow", "not mine", 100.0)
        assert held_places.error(session, bus_feed.NAME) is None
        assert held_places.go_on(session, bus_feed.NAME, "other", (place, later), 1.0)
        assert not held_places.go_on(session, bus_feed.NAME, "other", (place, later), 1.0)


def test_many_events_are_drained_by_one_sweep(made: Engine, shaky: Shaky) -> None:
    """More than two pages."""
    run_ids = [made.run("work") for _ in range(120)]
    readable(made, run_ids)
    assert feed(made) > 2 * bus_feed.PAGE
    fed(made, shaky, run_ids)
    assert_whole(shaky.published, made, run_ids[:5])


def test_an_event_that_is_too_long_travels_without_its_data(made: Engine) -> None:
    entry = journal.Entry(
        workspace_id="w",
        run_id="r",
        seq=1,
        type="step.completed",
        at=made.row(made.run("work")).created_at,
        data={"output": "✓" * bus_feed.MESSAGE_BYTES},
        cursor=journal.Cursor(xid=0, other_xid=0),
    )
    found = bus_feed.message(entry)
    assert len(found.body) < 1000
    assert found.event["data"]["omitted_bytes"] > bus_feed.MESSAGE_BYTES
    assert bus_feed.message(replace(entry, data={"n": 1})).event["data"] == {"n": 1}


def test_a_bus_that_is_off_is_fed_nothing(made: Engine, shaky: Shaky) -> None:
    off = replace(made.deps, settings=replace(made.deps.settings, event_bus="off"))
    made.run("work")
    assert bus_feed.feed(off) == sweeps.Swept()
    assert off.bus is None
    assert shaky.published == []


def test_a_run_is_replayed_from_any_number_and_then_followed(made: Engine, shaky: Shaky) -> None:
    """What is replayed and still comes from the bus is handled once."""
    run_id = made.run("work")
    other = made.start("work")
    shaky.subscribe("late").close()
    fed(made, shaky, [run_id, other])
    heard = followed(shaky, replayed(made.deps, Replay(run_id=run_id, seq=3)))
    made.drain()
    fed(made, shaky, [other])
    last = made.row(other).seq
    poll(lambda: [m for m in heard if m.id == f"{other}:{last}"])
    seqs = [message.event["seq"] for message in heard if message.run_id == run_id]
    assert seqs == [*range(3, made.row(run_id).seq + 1)]
    assert_whole(heard, made, [other])


def test_the_whole_journal_is_replayed(made: Engine, shaky: Shaky) -> None:
    run_ids = [made.run("work") for _ in range(2)]
    fed(made, shaky, run_ids)
    found = list(replayed(made.deps, Replay()))
    assert [message.id for message in found if message.run_id in run_ids] == [m.id for m in shaky.published]
    assert {m.body for m in shaky.published} <= {m.body for m in found}
    assert [run for run, _ in groupby(m.run_id for m in replayed(made.deps, Replay(run_id=run_ids[1])))] == run_ids[1:]


def test_a_replay_of_nothing_is_refused(made: Engine) -> None:
    with pytest.raises(NotFoundError):
        list(replayed(made.deps, Replay(run_id=made.actor.workspace_id)))


def followed(bus: MemoryBus, first: Any) -> list[Message]:
    heard: list[Message] = []
    follower = Follower(bus=bus, name="late", types=("*",), handler=heard.append, patience=Patience())
    follower.first(first)
    threading.Thread(target=follower.follow, daemon=True).start()
    return heard


def _held(made: Engine) -> bool:
    with made.deps.db.read() as session:
        found = session.get(Subscriber, bus_feed.NAME)
        return found is not None and found.holder is not None


def _taken(made: Engine, holder: str) -> bool:
    with made.deps.db.transaction() as session:
        return held_places.hold(session, bus_feed.NAME, holder, 5.0) is not None
