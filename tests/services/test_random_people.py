"""Votes and signals, early, late, doubled and in any order, between sweeps, pauses and lost timers.

A model that knows only what was accepted says how the run must end.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from models.database import Database
from models.errors import ConflictError
from models.states import RUN_TERMINAL, RunStatus
from orchestrator.core.people import Verdict
from orchestrator.services import runs
from tests.support import attempts
from tests.support.engine import Engine
from tests.support.office import DAY, fire, inbox, signal, signal_key, swept, vote
from tests.support.probes import Clock, probe, publish
from tests.support.soundness import assert_run_sound

SEEDS = range(30)
HANDLED = [{"from": name, "to": "end", "handle": "error"} for name in ("one", "two", "sign", "seal")]
PLAIN = [{"from": name, "to": "end"} for name in ("one", "two", "sign", "seal")]
NODES = (
    probe("start"),
    {"id": "one", "type": "approval", "required": 2, "expires": "5d"},
    {"id": "two", "type": "approval", "expires": "3d", "on_expiry": "approve"},
    {"id": "sign", "type": "signal", "signal": "signed", "expires": "4d"},
    {"id": "seal", "type": "signal", "signal": "sealed", "key": "{{run.id}}"},
    {"id": "end", "type": "noop"},
)
EDGES = ["start >> [one, two, sign, seal]", *PLAIN, *HANDLED]


@dataclass(slots=True, kw_only=True)
class Office:
    """One run, and what people and senders were told was taken."""

    ours: Engine
    clock: Clock
    run_id: str
    random: Random
    yes: dict[str, list[str]] = field(default_factory=lambda: {"one": [], "two": []})
    no: dict[str, str] = field(default_factory=dict)
    sent: dict[str, list[int]] = field(default_factory=lambda: {"signed": [], "sealed": []})
    count: int = 0

    def act(self) -> None:
        acts: list[Callable[[], object]] = [self._vote] * 5 + [self._signal] * 2 + [self._sweep] * 3
        acts += [self._wait, self._pause, self._fire]
        self.random.choice(acts)()

    def _vote(self) -> None:
        row = next(iter(inbox(self.ours, status=None, run=self.run_id)[:: self.random.choice([1, -1])]), None)
        if row is None:
            return
        by, step = f"v{self.random.randrange(4)}", row["step"]
        decision = Verdict.REJECTED if self.random.random() < 0.15 else Verdict.APPROVED
        try:
            vote(self.ours, row["id"], decision, by=by)
        except ConflictError:
            return
        assert step not in self.no
        assert by not in self.yes[step]
        if decision is Verdict.REJECTED:
            self.no[step] = by
        else:
            self.yes[step].append(by)

    def _signal(self) -> None:
        name = self.random.choice(["signed", "sealed"])
        self.count += 1
        number = self.random.randrange(3)
        try:
            if name == "signed":
                signal(self.ours, self.run_id, name, self.count, number=str(number))
            else:
                signal_key(self.ours, name, self.run_id, self.count, number=str(number))
        except ConflictError:
            assert self.status in RUN_TERMINAL
            return
        self.sent[name].append(self.count)

    def _sweep(self) -> None:
        swept(self.ours)

    def _wait(self) -> None:
        self.clock.now += self.random.choice([0.1, 1.0]) * DAY

    def _fire(self) -> None:
        if self.random.random() < 0.5:
            self.ours.timers.clear()  # their process has ended
        fire(self.ours)

    def _pause(self) -> None:
        if self.status == RunStatus.RUNNING:
            runs.pause(self.ours.deps, self.ours.actor, self.run_id, "lunch")
        elif self.status == RunStatus.PAUSED:
            self.ours.send(runs.resume(self.ours.deps, self.ours.actor, self.run_id))
            self.ours.drain()

    @property
    def status(self) -> str:
        return str(self.ours.row(self.run_id).status)

    def close(self) -> None:
        """Let what is left end: time passes, and the seal, which has no end, comes."""
        if self.status == RunStatus.PAUSED:
            self._pause()
        self.ours.drain()
        self.clock.now += 6 * DAY
        swept(self.ours)
        swept(self.ours)
        if self.ours.statuses(self.run_id)["seal"] == "waiting":
            signal_key(self.ours, "sealed", self.run_id, -1)
        swept(self.ours)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_accepted_is_what_counts(database: Database, seed: int) -> None:
    clock = Clock()
    ours = publish(database, *NODES, edges=EDGES, clock=clock)
    office = Office(ours=ours, clock=clock, run_id=ours.start("w"), random=Random(seed))
    for _ in range(office.random.randrange(5, 40)):
        office.act()
        if office.random.random() < 0.1:
            assert_run_sound(ours.deps, office.run_id)
    office.close()
    assert office.status == "success"
    statuses = ours.statuses(office.run_id)
    for step, needed in (("one", 2), ("two", 1)):
        won = len(office.yes[step]) == needed
        assert len(office.yes[step]) <= needed
        assert not (won and step in office.no)
        by_time = step == "two" and step not in office.no
        assert statuses[step] == ("success" if won or by_time else "failed")
        if won:
            (attempt,) = attempts.attempts(ours, office.run_id, step)
            assert attempt.output["by"] == office.yes[step]
    (seal,) = attempts.attempts(ours, office.run_id, "seal")
    assert seal.output == (office.sent["sealed"] or [-1])[0]
    (sign,) = attempts.attempts(ours, office.run_id, "sign")
    assert statuses["sign"] == ("success" if sign.output is not None else "failed")
    assert sign.output in (None, *office.sent["signed"][:1])
    assert_run_sound(ours.deps, office.run_id)
