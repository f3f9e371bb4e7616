"""Any position of a random run is rebuilt from its events as the rows were, forked, gone back to; all ends right."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.database import Database
from models.errors import ConflictError
from models.queries import arrivals, invariants
from models.states import RUN_TERMINAL
from orchestrator.core.aims import aim
from orchestrator.core.rebuild import State, rebuild
from orchestrator.services import forking, restoring
from orchestrator.services.fsck_history import rows_as_told
from orchestrator.services.fsck_rebuilt import REBUILT
from orchestrator.services.fsck_record import Record
from tests.support import attempts, engine, graphs, nests
from tests.support.engine import Engine
from tests.support.interrupted import STEADY, Interrupted
from tests.support.soundness import assert_run_sound

HEALTH = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)


@dataclass(slots=True, kw_only=True)
class Watched(Interrupted):
    """A run whose rows are kept now and then, and that is brought back to earlier positions a number of times."""

    kept: list[Record] = field(default_factory=list)
    restores: int = 0

    def _acts(self) -> list[Callable[[], object]]:
        return [*Interrupted._acts(self), *([self.go_back] if self.restores else [])]

    def _carry(self) -> None:
        Interrupted._carry(self)
        if self.random.random() < 0.2:
            self.kept.append(record(self.engine, self.run_id))

    def _abort(self) -> None:
        """Nobody aborts it: then it could not be told what its end has to be."""

    def go_back(self) -> None:
        """To any event; refused where the run is being stopped."""
        self.restores -= 1
        seq = self.random.randint(1, self.engine.row(self.run_id).seq)
        wanted = restoring.Wanted(run_id=self.run_id, checkpoint=str(seq), reason="at random")
        with suppress(ConflictError):
            self.engine.send(restoring.restore(self.engine.deps, self.engine.actor, wanted))
        assert_run_sound(self.engine.deps, self.run_id)


def record(ours: Engine, run_id: str) -> Record:
    """A run's rows as they are."""
    with ours.deps.db.read() as session:
        rows = invariants.load(session, run_id)
        assert rows is not None
        plan = ours.deps.plans.get(session, rows.version.id)
    return Record(rows=rows, plan=plan, virtual_now=ours.deps.clock.now(), real=ours.deps.clock.real)


def state(run: Watched, seq: int) -> State:
    with run.engine.deps.db.read() as session:
        return rebuild(run.plan, arrivals.log(session, run.run_id, seq))


def begun(database: Database, definition: dict[str, Any], random: Random, **more: Any) -> Watched:
    ours = engine.make(database, settings=STEADY)
    plan = ours.publish(definition)
    run_id = ours.start("random", inputs=graphs.INPUTS)
    return Watched(engine=ours, plan=plan, run_id=run_id, random=random, **more)


def fork(run: Watched, seq: int) -> Watched:
    """A fork at a position, not yet carried on."""
    ours = run.engine
    wanted = forking.Wanted(run_id=run.run_id, seq=seq)
    created = forking.fork(ours.deps, ours.actor, wanted)
    ours.send(created.effects)
    assert_run_sound(ours.deps, created.run_id)
    return Watched(engine=ours, plan=run.plan, run_id=created.run_id, random=run.random)


def told(run: Watched, type_: str) -> set[str]:
    return {str(e.step) for e in attempts.events(run.engine, run.run_id) if e.type == type_}


@settings(max_examples=30, deadline=None, suppress_health_check=HEALTH)
@given(st.randoms(use_true_random=False))
def test_a_position_is_rebuilt_as_its_rows_were(database: Database, random: Random) -> None:
    run = begun(database, nests.draw(random), random)
    run.drive()
    end = record(run.engine, run.run_id)
    for then in run.kept:
        upto = [event for event in end.rows.events if event.seq <= then.rows.run.seq]
        assert rebuild(run.plan, upto) == then.state
        assert [broken for check in (*REBUILT, rows_as_told) for broken in check(then)] == []


@settings(max_examples=40, deadline=None, suppress_health_check=HEALTH)
@given(st.randoms(use_true_random=False))
def test_a_fork_of_any_position_does_only_what_was_not_done(database: Database, random: Random) -> None:
    run = begun(database, nests.draw(random), random)
    run.drive()
    seq = random.randint(1, run.engine.row(run.run_id).seq)
    forked = fork(run, seq)
    forked.drive()
    assert forked.status in RUN_TERMINAL, forked.engine.statuses(forked.run_id)
    assert_run_sound(forked.engine.deps, forked.run_id)
    kept = {step.path for step in aim(run.plan, state(run, seq)).kept.values()}
    again = told(forked, "step.reset")  # by the retry of a loop or parallel around it, which does it again anyway
    assert kept & told(forked, "step.started") <= again, "what had ended is not done again"


@settings(max_examples=40, deadline=None, suppress_health_check=HEALTH)
@given(st.randoms(use_true_random=False))
def test_a_fork_ends_as_its_origin_where_nothing_is_different(database: Database, random: Random) -> None:
    definition = graphs.draw(random, name="random") | {"on_failure": "continue"}
    for node in definition["nodes"]:
        node.pop("join", None)  # which of several came first is no part of the outcome
    run = begun(database, definition, random)
    run.engine.drain()
    forked = fork(run, random.randint(1, run.engine.row(run.run_id).seq))
    forked.engine.drain()
    assert_run_sound(forked.engine.deps, forked.run_id)
    assert forked.engine.statuses(forked.run_id) == run.engine.statuses(run.run_id)
    assert outputs(forked) == outputs(run)


def outputs(run: Watched) -> dict[str, Any]:
    found = record(run.engine, run.run_id)
    return {
        step.path: (attempt.output, attempt.passed, attempt.input_digest)
        for step in found.rows.steps
        if (attempt := found.attempts.get((step.no, step.attempt))) is not None
    }


@settings(max_examples=40, deadline=None, suppress_health_check=HEALTH)
@given(st.randoms(use_true_random=False), st.integers(1, 6))
def test_a_run_that_goes_back_ends(database: Database, random: Random, restores: int) -> None:
    run = begun(database, nests.draw(random), random, restores=restores)
    run.drive()
    while run.restores:
        run.go_back()
        run.drive()
    assert run.status in RUN_TERMINAL, run.engine.statuses(run.run_id)
    assert_run_sound(run.engine.deps, run.run_id)
