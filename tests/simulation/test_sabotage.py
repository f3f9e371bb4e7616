"""Each guard of the engine, taken away, turns a seed red: what the simulation proves, it proves by them."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import pytest

from models.queries import transitions_sqlite
from orchestrator.core.effects import Effect
from orchestrator.services import inline
from orchestrator.services.claiming import Claimed
from orchestrator.services.completing import Completion
from orchestrator.services.performing import Performed
from orchestrator.services.steps import Carrier
from tests.simulation import verdict
from tests.simulation.ground import ground
from tests.simulation.workers import SteppedCarrier
from tests.simulation.world import Parts

SEEDS = range(400)


def first_red(parts: Parts | None = None) -> list[str]:
    """What is wrong with the first seed that fails; [] when none does."""
    for seed in SEEDS:
        try:
            wrong = verdict.judge(ground(), seed, parts)
        except Exception as error:
            return [repr(error)]
        if wrong:
            return wrong
    return []


def without(monkeypatch: pytest.MonkeyPatch, name: str, guard: str, instead: str = "") -> None:
    """Take a guard out of one of the statements."""
    statement: str = getattr(transitions_sqlite, name)
    assert guard in statement
    monkeypatch.setattr(transitions_sqlite, name, statement.replace(guard, instead))


def test_without_the_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "_MOVE", "AND attempt = :fence ")
    assert first_red()


def test_without_the_states_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "_MOVE", "AND status IN (SELECT value FROM json_each(:sources))")
    assert first_red()


def test_without_the_states_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tested under the run's lock; `tests/services/test_races.py` takes the lock itself away."""
    without(monkeypatch, "_RUN", "status IN (SELECT value FROM json_each(?))", "? != ''")
    assert first_red()


def test_without_the_sweeps() -> None:
    assert any("after all was healed" in wrong for wrong in first_red(Parts(sweeps=False)))


@dataclass(frozen=True, slots=True, kw_only=True)
class HastyCarrier(SteppedCarrier):
    """Sends before it commits."""

    def complete(
        self, claimed: Claimed, done: Performed | inline.Inlined, *, in_chord: bool, go_on: bool
    ) -> Claimed | None:
        completion = Completion(deps=self.deps, claimed=claimed, in_chord=in_chord)
        effects: Sequence[Effect] = ()
        with suppress(NotYetError), self.deps.db.transaction() as session:
            effects, _ = completion.write(session, done)
            raise NotYetError
        self.send(effects)
        return Carrier.complete(self, claimed, done, in_chord=in_chord, go_on=go_on)


class NotYetError(Exception):
    """The commit comes later."""


def test_sending_before_the_commit() -> None:
    parts = Parts(carrier=HastyCarrier, faults=lambda faults: replace(faults, kill=0.2, lose=0.0, refuse=0.0))
    assert any("never queued" in wrong for wrong in first_red(parts))
