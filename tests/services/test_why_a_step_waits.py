"""`waiting_for`: why a step has not begun, read from the rows as they are."""

import re
from typing import Any

import pytest
from sqlalchemy import text

from models.database import Database
from orchestrator.services import consumers, pools, run_views, runs
from orchestrator.services.idempotency import Once
from orchestrator.settings import Settings
from tests.support.engine import Engine
from tests.support.probes import NAME, Clock, probe, publish
from tests.support.soundness import assert_sound


def why(ours: Engine, run_id: str, path: str = "a") -> Any:
    """The same in the list of steps, and for the one; asking changes nothing."""
    one = run_views.step(ours.deps, ours.actor, run_id, path)["waiting_for"]
    with ours.deps.db.read() as session:
        before = session.execute(text("SELECT count(*) FROM event")).scalar_one()
    shown = run_views.run(ours.deps, ours.actor, run_id, include_steps=True)["steps"]
    assert {step["path"]: step["waiting_for"] for step in shown}[path] == one
    with ours.deps.db.read() as session:
        assert session.execute(text("SELECT count(*) FROM event")).scalar_one() == before
    assert_sound(ours.deps)
    return one


def test_a_step_that_was_sent(database: Database) -> None:
    ours = publish(database, probe("a"))
    run_id = ours.start(NAME)
    assert why(ours, run_id) == "a worker: none takes the queue steps"
    consumers.announce(ours.deps, ["steps"], 8)
    assert why(ours, run_id) == "a free worker of the queue steps, which takes 8 steps at once"
    ours.drain()
    assert why(ours, run_id) is None


def test_the_dispatch_window(database: Database) -> None:
    nodes = [probe(name) for name in "abcd"]
    ours = publish(database, *nodes, settings=Settings(dispatch_window=3))
    run_id = ours.start(NAME)
    expected = "the dispatch window of the queue steps: 3 of 3 are sent and not begun"
    assert why(ours, run_id, "d") == expected


def test_a_join(database: Database) -> None:
    ours = publish(
        database,
        *(probe(name) for name in "abc"),
        probe("any", join={"at_least": 2}),
        edges=["a >> c", "b >> c", "[a, b] >> any"],
    )
    run_id = ours.start(NAME)
    assert why(ours, run_id, "c") == "the end of a, b"
    assert why(ours, run_id, "any") == "2 live edges, of which it has 0: of a, b"


def test_a_paused_run(database: Database) -> None:
    ours = publish(database, probe("a"))
    run_id = ours.start(NAME)
    runs.pause(ours.deps, ours.actor, run_id, "a test")
    assert why(ours, run_id) == "the run to be resumed: it is paused"


def test_a_retry_and_a_timer(database: Database) -> None:
    ours = publish(
        database,
        probe("a", {"fail": "NETWORK"}, retry={"max_attempts": 2, "initial": "1h", "jitter": 0}),
        probe("b", {"wait": "a call", "seconds": 60}),
        probe("c", {"wait": "a person"}),
        clock=Clock(),
    )
    run_id = ours.run(NAME)
    assert why(ours, run_id, "a") == "its retry, due at 2023-11-14T23:13:20.000000Z"
    assert why(ours, run_id, "b") == "a call, due at 2023-11-14T22:14:20.000000Z"
    assert why(ours, run_id, "c") == "a person"


def test_a_pool(database: Database) -> None:
    ours = publish(database, probe("a", pool="gpu", slots=2), probe("b", {"wait": "it"}, pool="gpu"))
    run_id = ours.run(NAME)
    assert why(ours, run_id) == "the pool gpu, which is not there: PUT /api/pools/gpu"
    pools.put(ours.deps, ours.actor, "gpu", 1, Once())
    ours.sweep()
    ours.drain()
    assert why(ours, run_id) == "the pool gpu: it has 1 slots, the step takes 2"
    pools.put(ours.deps, ours.actor, "gpu", 2, Once())


def test_slots_that_are_taken(database: Database) -> None:
    ours = publish(database, probe("a", {"wait": "it"}, pool="gpu"), probe("b", pool="gpu"))
    pools.put(ours.deps, ours.actor, "gpu", 1, Once())
    run_id = ours.run(NAME)
    assert why(ours, run_id, "b") == "the pool gpu: 1 of 1 slots are taken"


def test_a_rate(database: Database) -> None:
    ours = publish(database, probe("a", rate={"key": "{{inputs.to}}", "limit": 1, "per": "1h"}))
    ours.run(NAME, inputs={"to": "x"})
    run_id = ours.run(NAME, inputs={"to": "x"})
    expected = r"the rate of the key 'x', 1 in 3600 s: the next may begin at \d{4}-\d\d-\d\dT[\d:.]+Z"
    assert re.fullmatch(expected, why(ours, run_id))


def test_the_runs_turn(database: Database) -> None:
    ours = publish(database, probe("a"), concurrency={"key": "{{inputs.to}}", "limit": 1})
    _, second, third = (ours.start(NAME, inputs={"to": "x"}) for _ in range(3))
    terms = "the run's turn under the concurrency key 'x': 1 of 1 go on"
    assert (why(ours, second), why(ours, third)) == (f"{terms}, 0 are ahead", f"{terms}, 1 are ahead")


@pytest.mark.parametrize("status", ["success", "skipped"])
def test_what_has_ended_waits_for_nothing(database: Database, status: str) -> None:
    ours = publish(database, probe("a"), probe("b", when="false"))
    run_id = ours.run(NAME)
    path = "a" if status == "success" else "b"
    assert ours.statuses(run_id)[path] == status
    assert why(ours, run_id, path) is None
