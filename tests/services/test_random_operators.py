"""Random graphs with an operator who acts at random: the run ends as though it had gone like that at once."""

from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.database import Database
from models.errors import ConflictError, InvalidError
from models.states import RUN_TERMINAL
from orchestrator.services import control, runs
from orchestrator.services.reaching import Wanted
from orchestrator.settings import Settings
from tests.support import attempts, engine, graphs, shuffled
from tests.support.engine import Engine
from tests.support.operated import Operated
from tests.support.soundness import assert_run_sound

CHORDS = Settings(result_backend="redis://127.0.0.1/0")
HEALTH = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)
_TO = {"skip": "skipped", "complete": "success"}


class Hand:
    """An operator of one run. `forced`: how steps ended by hand, until they are taken back."""

    def __init__(self, ours: Engine, run_id: str, random: Random) -> None:
        self.ours, self.run_id, self.random = ours, run_id, random
        self.forced: dict[str, str] = {}
        self.done = 0

    def act(self) -> None:
        """Try one act; where it is refused, nothing has changed."""
        paths = sorted(self.ours.statuses(self.run_id))
        act, path = self.random.choice(("retry", "rerun", "skip", "complete")), self.random.choice(paths)
        self.carry_out(act, path)

    def carry_out(self, act: str, path: str) -> None:
        before = attempts.events(self.ours, self.run_id)
        wanted = Wanted(run_id=self.run_id, path=path, reason="at random")
        output = ({"by": "hand"},) if act == "complete" else ()
        try:
            self.ours.send(getattr(control, act)(self.ours.deps, self.ours.actor, wanted, *output))
        except (ConflictError, InvalidError):
            assert len(attempts.events(self.ours, self.run_id)) == len(before)
            return
        self.done += 1
        for event in attempts.events(self.ours, self.run_id)[len(before) :]:
            if event.type == "step.reset":
                self.forced.pop(event.step or "", None)
        if act in _TO:
            self.forced[path] = _TO[act]

    def interfere(self) -> None:
        """Somebody pauses, resumes or aborts the run."""
        status = self.ours.row(self.run_id).status
        if status == "running" and self.random.random() < 0.5:
            runs.pause(self.ours.deps, self.ours.actor, self.run_id, "wait")
        elif status == "paused":
            self.ours.send(runs.resume(self.ours.deps, self.ours.actor, self.run_id))
        elif status not in RUN_TERMINAL:
            self.ours.send(runs.abort(self.ours.deps, self.ours.actor, self.run_id, "enough"))


@settings(max_examples=35, deadline=None, suppress_health_check=HEALTH)
@given(st.randoms(use_true_random=False), st.booleans(), st.integers(1, 25))
def test_a_run_with_an_operator_ends_as_if_it_had_gone_like_that(
    database: Database, random: Random, chords: bool, acts: int
) -> None:
    definition = graphs.draw(random, 9)
    ours = engine.make(database, settings=CHORDS if chords else Settings())
    ours.publish(definition)
    run_id = ours.start("random", inputs=graphs.INPUTS)
    hand = Hand(ours, run_id, random)
    for _ in range(acts):
        if ours.inbox and random.random() < 0.5:
            shuffled.carry_one(ours, random)
        elif random.random() < 0.85:
            hand.act()
        else:
            hand.interfere()
        if random.random() < 0.2:
            assert_run_sound(ours.deps, run_id)
    _go_on(ours, hand, random)
    assert_run_sound(ours.deps, run_id)
    assert ours.statuses(run_id) == Operated(definition, hand.forced).statuses


def _go_on(ours: Engine, hand: Hand, random: Random) -> None:
    """Carry the run to its success: what fails for good is skipped, what was stopped goes on with a rerun."""
    for _ in range(100):
        shuffled.drain(ours, random)
        row = ours.row(hand.run_id)
        if row.status == "paused":
            hand.interfere()
        elif row.status == "success":
            return
        elif row.error is not None and row.error["step"] is not None:
            hand.carry_out("skip", row.error["step"])
        else:
            closed = sorted(path for path, status in ours.statuses(hand.run_id).items() if status != "success")
            for path in closed:
                if ours.row(hand.run_id).status == "aborted":
                    hand.carry_out("rerun", path)
            if ours.row(hand.run_id).status == "aborted":
                hand.carry_out("rerun", random.choice(sorted(ours.statuses(hand.run_id))))
    raise AssertionError(f"it ends as {ours.row(hand.run_id).status}: {ours.statuses(hand.run_id)}")
