"""Whatever happens to a run that undoes what it has done: in exact reverse, each once, and to the end."""

from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.database import Database
from models.errors import ConflictError
from models.states import RUN_TERMINAL, RunStatus
from orchestrator.services import undoing
from tests.support import attempts, engine, graphs, nests
from tests.support.engine import Engine
from tests.support.interrupted import CHORDS, STEADY, Interrupted
from tests.support.soundness import assert_run_sound

HEALTH = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)
MOST_TRIES = 40


@settings(max_examples=40, deadline=None, suppress_health_check=HEALTH)
@given(st.randoms(use_true_random=False), st.booleans())
def test_a_run_that_is_undone(database: Database, random: Random, chords: bool) -> None:
    definition = nests.draw(random)
    spice(random, definition["nodes"])
    ours = engine.make(database, settings=CHORDS if chords else STEADY)
    plan = ours.publish(definition)
    run_id = ours.start("random", inputs=graphs.INPUTS)
    run = Interrupted(engine=ours, plan=plan, run_id=run_id, random=random)
    run.drive()
    by_hand = run.status == RunStatus.FAILED or random.random() < 0.3
    for _ in range(MOST_TRIES if by_hand else 0):
        if not _undo(ours, run_id):
            break
        run.drive()
    else:
        assert not by_hand, f"it could not be undone: {ours.statuses(run_id)}"
    assert run.status in RUN_TERMINAL, ours.statuses(run_id)
    assert_run_sound(ours.deps, run_id)
    _check(run, whole=by_hand)


def _undo(ours: Engine, run_id: str) -> bool:
    try:
        ours.send(undoing.compensate(ours.deps, ours.actor, run_id, "undo it"))
    except ConflictError as nothing:
        assert "nothing is left" in str(nothing)  # noqa: PT017
        return False
    return True


def _check(run: Interrupted, *, whole: bool) -> None:
    """By the log alone: what was done and not undone since, the one that was done last next; nothing left."""
    done: dict[str, int] = {}
    for event in attempts.events(run.engine, run.run_id):
        path, type_ = event.step or event.data.get("step", ""), event.type
        if type_ == "step.completed" and run.plan.place_of(path) in run.plan.undoable:
            done[path] = event.seq
        elif type_ == "step.fenced" and event.data.get("undo"):
            done.setdefault(path, event.seq)
        elif type_ == "step.compensating":
            assert path == max(done, key=lambda step: done[step])
            assert event.data["completion"] == done[path]
        elif type_ == "step.compensated":
            del done[path]
    if whole:
        assert done == {}
        assert run.status in (RunStatus.COMPENSATED, RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.ABORTED)


def spice(random: Random, nodes: list[dict[str, Any]]) -> None:
    """Compensations that succeed, fail a few times with retries, or fail for good at first; timeouts and waits."""
    for node in nodes:
        if "body" in node:
            spice(random, node["body"]["nodes"])
        if random.random() < 0.6:
            node["compensate"] = _compensation(random)
        if node["type"] in ("probe", "slow_probe") and random.random() < 0.15:
            node["does"] = random.choice([{"fail": "NETWORK"}, [{"wait": "a while", "seconds": 1}, {"succeed": 1}]])
        if node["type"] in ("probe", "slow_probe") and random.random() < 0.2:
            node["timeout"] = 100


def _compensation(random: Random) -> dict[str, Any]:
    fails = [{"fail": "TOOL_FAILED", "transient": False}] * random.randint(0, 2)
    does = [*fails, random.choice([{}, {"succeed": 1}])]
    found: dict[str, Any] = {"type": random.choice(["probe", "slow_probe"]), "does": does}
    if random.random() < 0.3:
        found["retry"] = {"max_attempts": 2, "initial": "1ms"}
    return random.choice([found, found, {"type": "noop"}])
