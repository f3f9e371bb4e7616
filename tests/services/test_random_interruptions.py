"""Whatever happens to a run amid its loops and parallels, it ends, and every invariant holds."""

from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.database import Database
from models.states import RUN_TERMINAL
from tests.support import engine, graphs, nests
from tests.support.interrupted import CHORDS, STEADY, Interrupted
from tests.support.soundness import assert_run_sound

HEALTH = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)


@settings(max_examples=40, deadline=None, suppress_health_check=HEALTH)
@given(st.randoms(use_true_random=False), st.booleans())
def test_a_run_that_is_interrupted_ends(database: Database, random: Random, chords: bool) -> None:
    definition = nests.draw(random)
    _spice(random, definition["nodes"])
    ours = engine.make(database, settings=CHORDS if chords else STEADY)
    plan = ours.publish(definition)
    run = Interrupted(
        engine=ours, plan=plan, run_id=ours.start("random", inputs=graphs.INPUTS), random=random
    )
    run.drive()
    assert run.status in RUN_TERMINAL, ours.statuses(run.run_id)
    assert_run_sound(ours.deps, run.run_id)


def _spice(random: Random, nodes: list[dict[str, Any]], scope: str = "") -> None:
    """Timeouts of containers, commitments that are let end, steps that wait, retries."""
    for node in nodes:
        if "body" in node:
            node |= {"timeout": 3_600} if random.random() < 0.4 else {}
            _spice(random, node["body"]["nodes"], f"{scope}{node['id']}-")
        elif node["type"] in ("probe", "slow_probe"):
            node |= _commitment(scope + node["id"]) if random.random() < 0.2 else {}
            node |= (
                {"does": [{"wait": "a while", "seconds": 1}, {"succeed": 1}]} if random.random() < 0.1 else {}
            )
            node |= {"retry": {"max_attempts": 2, "initial": "1ms"}} if random.random() < 0.2 else {}


def _commitment(key: str) -> dict[str, Any]:
    reason = {"type": "none", "reason": "it can't be undone"}
    return {"side_effects": "external", "idempotency_key": key, "compensate": reason}
