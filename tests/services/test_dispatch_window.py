"""What is published of what is ready: by the window, by rank, by turns of the workspaces."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from models.base import uuid7
from models.database import Database
from models.workspace import Workspace
from orchestrator.core.effects import Message
from orchestrator.services import consumers, lanes, runs, sweeps
from orchestrator.services.actors import Actor
from orchestrator.services.windows import Windows
from orchestrator.settings import Settings
from tests.support import engine
from tests.support.engine import Engine
from tests.support.soundness import assert_sound

WINDOW = 4
WIDTH = 80


def made(database: Database) -> Engine:
    return engine.make(database, settings=Settings(dispatch_window=WINDOW))


def other(ours: Engine) -> Engine:
    """Another workspace of the same installation."""
    workspace_id = uuid7()
    with ours.deps.db.transaction() as session:
        session.add(Workspace(id=workspace_id, name=workspace_id, created_at=datetime.now(UTC)))
    actor = Actor(workspace_id=workspace_id, key_id="test", scopes=frozenset({"admin"}), name="other")
    found = Engine(deps=ours.deps, actor=actor)
    found.inbox, found.waves = ours.inbox, ours.waves
    return found


def wide(ours: Engine, width: int, **node: Any) -> str:
    ours.publish(
        {"name": "wide", "nodes": [{"id": f"n{n:02}", "type": "nothing", **node} for n in range(width)]}
    )
    return ours.start("wide")


def forget(ours: Engine) -> None:
    """As a process that has just begun: it knows of no window."""
    vars(ours.deps)["windows"] = Windows()


def step(ours: Engine) -> Message:
    """Carry the first message of the queue, as a worker does that has not looked lately."""
    forget(ours)
    message, in_chord = ours.inbox.pop(0)
    ours.carrier.carry(message, in_chord=in_chord)
    return message


def held(ours: Engine, run_id: str) -> int:
    query = text("SELECT count(*) FROM step WHERE run_id = :run AND status = 'queued' AND sent_at IS NULL")
    with ours.deps.db.read() as session:
        return int(session.execute(query, {"run": run_id}).scalar_one())


def test_no_more_is_published_than_the_window_holds(database: Database) -> None:
    ours = made(database)
    run_id = wide(ours, 20)
    assert (len(ours.inbox), held(ours, run_id)) == (WINDOW, 16)
    while ours.inbox:
        step(ours)
        assert len(ours.inbox) <= WINDOW
    assert set(ours.statuses(run_id).values()) == {"success"}
    assert_sound(ours.deps)


@pytest.mark.parametrize("cheap", [False, True])
def test_a_worker_takes_quick_steps_along_that_are_held(database: Database, cheap: bool) -> None:
    ours, run_id = fanned(database, quick=True, cheap=cheap)
    ours.carrier.carry(ours.inbox.pop(0)[0])
    assert (len(ours.inbox), held(ours, run_id)) == (WINDOW, 0), "what was sent before is for others"
    ours.drain()
    assert set(ours.statuses(run_id).values()) == {"success"}
    assert_sound(ours.deps)


def test_steps_that_take_their_time_wait_for_room(database: Database) -> None:
    ours, run_id = fanned(database, quick=False, cheap=False)
    ours.carrier.carry(ours.inbox.pop(0)[0])
    assert (len(ours.inbox), held(ours, run_id)) == (WINDOW, WIDTH - WINDOW - 1)
    ours.drain()
    assert set(ours.statuses(run_id).values()) == {"success"}
    assert_sound(ours.deps)


def test_steps_that_another_run_has_before_are_left_to_wait(database: Database) -> None:
    """A lane's order holds between runs: who takes steps along takes those that are next."""
    ours, run_id = fanned(database, quick=True, cheap=False)
    assert held(ours, ours.start("wide", priority=9)) > 0
    forget(ours)
    ours.carrier.carry(ours.inbox.pop(0)[0])
    done = [path for path, status in ours.statuses(run_id).items() if status == "success"]
    assert sorted(done) == ["first", "n00"]
    ours.drain()
    assert_sound(ours.deps)


def fanned(database: Database, *, quick: bool, cheap: bool) -> tuple[Engine, str]:
    """A run that fans out, before its first step."""
    ours = made(database)
    ours.paces.all_quick, ours.paces.all_cheap = quick, cheap
    ours.publish({"name": "wide", "nodes": [{"id": f"n{n:02}", "type": "nothing"} for n in range(WIDTH)]})
    leaves = [f"n{n:02}" for n in range(WIDTH)]
    nodes = [{"id": each, "type": "nothing"} for each in ("first", *leaves)]
    ours.publish({"name": "fan", "nodes": nodes, "edges": [f"first >> [{', '.join(leaves)}]"]})
    return ours, ours.start("fan")


def test_a_run_within_the_window_is_sent_at_once(database: Database) -> None:
    ours = made(database)
    run_id = wide(ours, WINDOW)
    assert (len(ours.inbox), held(ours, run_id)) == (WINDOW, 0)
    ours.drain()
    assert_sound(ours.deps)


def test_a_claim_of_the_first_run_makes_room_for_the_second(database: Database) -> None:
    ours = made(database)
    first = wide(ours, WINDOW)
    second = ours.start("wide")
    assert held(ours, second) == WINDOW
    assert step(ours).run_id == first
    assert ours.inbox[-1][0].run_id == second
    ours.drain()
    ours.sweep()
    ours.drain()
    assert ours.statuses(second) == dict.fromkeys(ours.statuses(second), "success")
    assert_sound(ours.deps)


def test_two_workspaces_take_turns_however_much_waits(database: Database) -> None:
    ours = made(database)
    theirs = other(ours)
    many = wide(ours, 40)
    few = wide(theirs, 6)
    order = []
    while ours.inbox:
        order.append(step(ours).run_id)
    last = max(place for place, run_id in enumerate(order) if run_id == few)
    assert order.count(few) == 6
    # a window of theirs was published before, then each goes in turn
    assert last < 2 * 6 + WINDOW
    assert order.count(many) == 40
    assert_sound(ours.deps)


def test_a_sweep_releases_by_turns_of_the_workspaces(database: Database) -> None:
    ours = made(database)
    theirs = other(ours)
    runs_of = [wide(ours, 20), wide(theirs, 20)]
    ours.inbox.clear()
    with database.transaction() as session:  # all that was published was carried elsewhere
        session.execute(text("DELETE FROM step WHERE status = 'queued' AND sent_at IS NOT NULL"))
    effects = lanes.sweep(ours.deps)
    order = [message.run_id for wave in effects for message in wave.messages]
    assert order in ([*runs_of] * WINDOW, [*reversed(runs_of)] * WINDOW)


def test_a_higher_priority_goes_first(database: Database) -> None:
    ours = made(database)
    slow, quick = wide(ours, 20), None
    quick = ours.start("wide", priority=9)
    order = []
    while ours.inbox:
        order.append(step(ours).run_id)
    assert order[:WINDOW] == [slow] * WINDOW
    assert order[WINDOW : WINDOW + 20] == [quick] * 20
    assert_sound(ours.deps)


def test_the_nodes_priority_stands_before_the_runs(database: Database) -> None:
    ours = made(database)
    nodes = [{"id": f"n{n}", "type": "nothing"} for n in range(6)]
    nodes += [
        {"id": "first", "type": "nothing", "priority": 7},
        {"id": "last", "type": "nothing", "priority": 0},
    ]
    ours.publish({"name": "mixed", "nodes": nodes})
    ours.start("mixed", priority=3)
    order = []
    while ours.inbox:
        order.append(step(ours).path)
    assert (order[0], order[-1]) == ("first", "last")
    assert_sound(ours.deps)


def test_what_a_paused_run_holds_is_in_nobodys_way(database: Database) -> None:
    ours = made(database)
    first = wide(ours, 20)
    runs.pause(ours.deps, ours.actor, first, "a test")
    ours.inbox.clear()
    forget(ours)
    second = ours.start("wide")
    assert len(ours.inbox) == WINDOW
    ours.drain()
    while held(ours, second):
        ours.sweep()
        ours.drain()
    ours.send(runs.resume(ours.deps, ours.actor, first))
    while held(ours, first):
        ours.drain()
        ours.sweep()
    ours.drain()
    assert set(ours.statuses(first).values()) == {"success"}
    assert_sound(ours.deps)


def test_a_failed_publish_is_made_good_in_order(database: Database) -> None:
    ours = made(database)
    run_id = wide(ours, 20)
    with database.transaction() as session:  # what the sender does when the broker is away
        session.execute(text("UPDATE step SET sent_at = NULL WHERE status = 'queued'"))
    ours.inbox.clear()
    sweeps.run(ours.deps, "undispatched")
    assert held(ours, run_id) == 20 - WINDOW


def test_the_window_follows_the_consumers(database: Database) -> None:
    ours = engine.make(database)
    consumers.announce(ours.deps, ["steps", "control"], 8)
    run_id = wide(ours, 50)
    assert held(ours, run_id) == 50 - 4 * 8
    consumers.withdraw(ours.deps)
    forget(ours)
    with database.read() as session:
        assert lanes.window(ours.deps, session, "steps") == 256


@pytest.mark.parametrize("size", [1, 3, 64])
def test_every_window_carries_a_run_to_its_end(database: Database, size: int) -> None:
    ours = engine.make(database, settings=replace(Settings(), dispatch_window=size))
    run_id = wide(ours, 30)
    while "queued" in ours.statuses(run_id).values():
        ours.drain()
        ours.sweep()
    assert set(ours.statuses(run_id).values()) == {"success"}
    assert_sound(ours.deps)
