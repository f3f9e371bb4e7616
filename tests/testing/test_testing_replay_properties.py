"""A history replayed against its own definition is the same, whatever happened in it."""

import json
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from models.database import Database
from orchestrator.services import runs, sweeps
from orchestrator.settings import Settings
from orchestrator.testing import replay
from orchestrator.testing.replay import of_run
from tests.services.test_random_operators_in_bodies import Operated
from tests.support import engine, graphs, nests, shuffled
from tests.support.engine import Engine

CHORDS = Settings(result_backend="redis://127.0.0.1/0")
HEALTH = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # a replay is too slow to shrink by


def assert_replays(ours: Engine, run_id: str, definition: dict[str, Any]) -> None:
    history = json.loads(json.dumps(of_run(ours.deps, ours.actor, run_id)))
    replay(history, definition).check()


@settings(max_examples=15, deadline=None, suppress_health_check=HEALTH, phases=PHASES)
@given(st.randoms(use_true_random=False), st.booleans())
def test_a_random_graph_carried_in_any_order(database: Database, random: Random, chords: bool) -> None:
    definition = graphs.draw(random)
    ours = engine.make(database, settings=CHORDS if chords else Settings())
    ours.publish(definition)
    run_id = ours.start("random", inputs=graphs.INPUTS)
    shuffled.drain(ours, random)
    assert_replays(ours, run_id, definition)


@settings(max_examples=15, deadline=None, suppress_health_check=HEALTH, phases=PHASES)
@given(st.randoms(use_true_random=False), st.booleans(), st.integers(0, 12))
def test_bodies_with_losses_pauses_aborts_and_an_operator(
    database: Database, random: Random, chords: bool, acts: int
) -> None:
    definition = nests.draw(random)
    ours = engine.make(database, settings=CHORDS if chords else Settings())
    plan = ours.publish(definition)
    run_id = ours.start("random", inputs=graphs.INPUTS)
    Operated(engine=ours, plan=plan, run_id=run_id, random=random, acts_left=acts).end()
    assert_replays(ours, run_id, definition)


def test_a_pause_between_two_iterations_of_nodes_that_take_no_time(database: Database) -> None:
    """The log says when each iteration begins: nothing of the second one happens before the pause."""
    body = {"nodes": [{"id": "sum", "type": "set", "values": {"n": 1}}], "edges": []}
    rounds = {"id": "rounds", "type": "loop", "mode": "for", "count": 3}
    definition = {"name": "paused", "nodes": [rounds | {"body": body}], "edges": []}
    ours = engine.make(database)
    ours.publish(definition)
    run_id = ours.start("paused")
    ours.send(sweeps.wake(ours.deps, ours.timers.pop()))
    runs.pause(ours.deps, ours.actor, run_id, "between the two")
    assert ours.row(run_id).status == "paused"
    ours.send(runs.resume(ours.deps, ours.actor, run_id))
    while ours.inbox or ours.timers:
        shuffled.drive(ours, Random(1), twice=0.0)
    assert ours.row(run_id).status == "success"
    assert_replays(ours, run_id, definition)
