"""Whatever an operator does amid loops, parallels, lost workers and pauses: the run ends, and no invariant breaks."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from models.database import Database
from models.errors import ConflictError, InvalidError
from models.event import Event
from models.states import RUN_TERMINAL
from orchestrator.services import control
from orchestrator.services.reaching import Wanted
from orchestrator.settings import Settings
from tests.support import engine, graphs, nests
from tests.support.interrupted import Interrupted
from tests.support.soundness import assert_run_sound

CHORDS = Settings(result_backend="redis://127.0.0.1/0")
HEALTH = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)


@dataclass(slots=True, kw_only=True)
class Operated(Interrupted):
    """A run that an operator may act on a number of times, after its end too."""

    acts_left: int = 0

    def _acts(self) -> list[Callable[[], object]]:
        more = [self._operate] * 4 if self.acts_left else []
        return [*Interrupted._acts(self), *more]

    def end(self) -> None:
        """Go on to the end, and on from there as often as the operator has a mind to."""
        self.drive()
        while self.acts_left:
            self._operate()
            self.drive()

    def _operate(self) -> None:
        self.acts_left -= 1
        path = self.random.choice(sorted(self.engine.statuses(self.run_id)))
        act = self.random.choice(("retry", "rerun", "rerun", "skip", "complete"))
        output = ({"by": "hand"},) if act == "complete" else ()
        wanted = Wanted(run_id=self.run_id, path=path, reason="at random")
        told = self._told()
        try:
            self.engine.send(getattr(control, act)(self.engine.deps, self.engine.actor, wanted, *output))
        except (ConflictError, InvalidError):
            assert self._told() == told, "what is refused changes nothing"
        else:
            assert self._told() > told, "what is done is told"
        assert_run_sound(self.engine.deps, self.run_id)

    def _told(self) -> int:
        with self.engine.deps.db.read() as session:
            of_run = select(func.count()).select_from(Event).where(Event.run_id == self.run_id)
            return int(session.execute(of_run).scalar_one())


@settings(max_examples=35, deadline=None, suppress_health_check=HEALTH)
@given(st.randoms(use_true_random=False), st.booleans(), st.integers(1, 12))
def test_a_run_with_bodies_and_an_operator_ends(
    database: Database, random: Random, chords: bool, acts: int
) -> None:
    definition = nests.draw(random)
    ours = engine.make(database, settings=CHORDS if chords else Settings())
    plan = ours.publish(definition)
    run_id = ours.start("random", inputs=graphs.INPUTS)
    run = Operated(engine=ours, plan=plan, run_id=run_id, random=random, acts_left=acts)
    run.end()
    assert run.status in RUN_TERMINAL, ours.statuses(run_id)
    assert_run_sound(ours.deps, run_id)
