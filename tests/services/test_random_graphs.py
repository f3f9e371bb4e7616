"""Random graphs through the services and both databases, carried in any order, end as the reference says."""

from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.database import Database
from orchestrator.settings import Settings
from tests.support import attempts, engine, graphs, shuffled
from tests.support.engine import Engine
from tests.support.reference import Reference
from tests.support.soundness import assert_run_sound

CHORDS = Settings(result_backend="redis://127.0.0.1/0")
HEALTH = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)


@settings(max_examples=60, deadline=None, suppress_health_check=HEALTH)
@given(st.randoms(use_true_random=False), st.booleans())
def test_random_graphs_end_as_the_rules_say(database: Database, random: Random, chords: bool) -> None:
    definition = graphs.draw(random, degrade=0.3)
    ours = engine.make(database, settings=CHORDS if chords else Settings())
    ours.publish(definition)
    run_id = ours.start("random", inputs=graphs.INPUTS)
    shuffled.drain(ours, random)
    reference = Reference(definition).complete_all()
    unhandled = reference.unhandled()
    run = ours.row(run_id)
    assert run.status == ("failed" if unhandled else "success")
    found = ours.statuses(run_id)
    if not unhandled or definition["on_failure"] == "continue":
        assert found == reference.statuses
        assert _degraded(ours, run_id) == reference.degraded
    else:
        assert run.error["step"] in unhandled
        stopped = {name for name in found if found[name] != reference.statuses[name]}
        assert {found[name] for name in stopped} <= {"skipped", "aborted"}
    assert_run_sound(ours.deps, run_id)


def _degraded(ours: Engine, run_id: str) -> set[str | None]:
    return {event.step for event in attempts.events(ours, run_id) if event.data.get("degraded")}
