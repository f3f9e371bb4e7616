"""Whatever is undone, gone back to, forked and done again, one after the other: each run ends, and its log tells it."""

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.database import Database
from models.errors import ConflictError
from models.states import RUN_TERMINAL
from orchestrator.services import control, forking, rebuilding, restoring, runs, undoing
from orchestrator.services.reaching import Wanted as Step
from tests.services.test_random_compensations import spice
from tests.support import engine, graphs, nests
from tests.support.engine import Engine
from tests.support.interrupted import STEADY, Interrupted
from tests.support.soundness import assert_run_sound

HEALTH = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)
ACTS = ("compensate", "restore", "restore and abort", "fork", "rerun")


@pytest.mark.parametrize("database_kind", ["sqlite"])
@settings(max_examples=40, deadline=None, suppress_health_check=HEALTH)
@given(st.randoms(use_true_random=False))
def test_a_run_that_is_undone_and_gone_back_with(database: Database, random: Random) -> None:
    definition = nests.draw(random)
    spice(random, definition["nodes"])
    ours = engine.make(database, settings=STEADY)
    plan = ours.publish(definition)
    run_id = ours.start("random", inputs=graphs.INPUTS)
    _drive(Interrupted(engine=ours, plan=plan, run_id=run_id, random=random))
    for _ in range(5):
        try:
            run_id = _act(ours, run_id, random)
        except ConflictError:
            continue
        _drive(Interrupted(engine=ours, plan=plan, run_id=run_id, random=random))


def _act(ours: Engine, run_id: str, random: Random) -> str:
    """Something that an ended run goes on with; the run that goes on, which may be a fork."""
    deps, actor = ours.deps, ours.actor
    act, seq = random.choice(ACTS), random.randint(1, ours.row(run_id).seq)
    match act:
        case "compensate":
            ours.send(undoing.compensate(deps, actor, run_id, act))
        case "fork":
            created = forking.fork(deps, actor, forking.Wanted(run_id=run_id, seq=seq))
            ours.send(created.effects)
            return created.run_id
        case "rerun":
            path = random.choice([path for path in ours.statuses(run_id) if "/" not in path])
            ours.send(control.rerun(deps, actor, Step(run_id=run_id, path=path)))
        case _:
            ours.send(restoring.restore(deps, actor, restoring.Wanted(run_id=run_id, checkpoint=str(seq))))
            if act == "restore and abort":
                ours.send(runs.abort(deps, actor, run_id, act, compensate=True))
    return run_id


def _drive(run: Interrupted) -> None:
    """To its end, with every invariant checked on the way, and rebuilt from its log as it is."""
    _assert_told(run)
    run.drive()
    assert run.status in RUN_TERMINAL, run.engine.statuses(run.run_id)
    _assert_told(run)


def _assert_told(run: Interrupted) -> None:
    assert_run_sound(run.engine.deps, run.run_id)
    assert rebuilding.carry_out(run.engine.deps, run.run_id, dry_run=True) == []
