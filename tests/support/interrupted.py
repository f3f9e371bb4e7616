"""Carrying a run while workers are lost or late, timeouts are outrun, and people pause, resume and abort it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from sqlalchemy import select

from models.states import RUN_TERMINAL, RunStatus
from models.step import Step
from orchestrator.core.plan import Plan
from orchestrator.services import runs, sweeps
from orchestrator.services.claiming import Claimed
from orchestrator.settings import Settings
from tests.support import attempts, shuffled
from tests.support.engine import Engine
from tests.support.soundness import assert_run_sound

# A lease ends where a run is told so, and not because the machine is slow, or a run of before was left as it was:
# the same draws are to do the same.
STEADY = Settings(event_bus="memory://", lease_seconds=600.0)
CHORDS = Settings(event_bus="memory://", lease_seconds=600.0, result_backend="redis://127.0.0.1/0")


@dataclass(slots=True, kw_only=True)
class Interrupted:
    """A run of an engine; `held` are attempts that their workers have not ended."""

    engine: Engine
    plan: Plan
    run_id: str
    random: Random
    held: list[Claimed] = field(default_factory=list)

    @property
    def status(self) -> str:
        return str(self.engine.row(self.run_id).status)

    def drive(self, *, most: int = 2_000) -> None:
        """Go on until nothing is left to do; a run that is paused then is resumed, once more than it is paused."""
        while self._is_under_way() or self._resume():
            most -= 1
            assert most > 0, "a run without end"
            self.random.choice(self._acts())()
            if self.random.random() < 0.1:
                assert_run_sound(self.engine.deps, self.run_id)

    def _is_under_way(self) -> bool:
        return bool(self.engine.inbox or self.engine.timers or self.held)

    def _acts(self) -> list[Callable[[], object]]:
        acts: list[Callable[[], object]] = [self._outrun]
        acts += [self._carry] * 8 + [self._take] * 4 if self.engine.inbox else []
        acts += [self._fire] * 6 if self.engine.timers else []
        acts += [self._end, self._end, self._lose] if self.held else []
        acts += [self._pause] if self.status == RunStatus.RUNNING else [self._resume]
        acts += [self._abort] if self.random.random() < 0.1 else []
        return acts

    def _carry(self) -> None:
        shuffled.carry_one(self.engine, self.random)

    def _fire(self) -> None:
        timer = self.engine.timers.pop(self.random.randrange(len(self.engine.timers)))
        self.engine.send(sweeps.wake(self.engine.deps, timer))

    def _take(self) -> None:
        """A worker claims a step, and takes its time; a step that was closed meanwhile is not to be had."""
        place = self.random.randrange(len(self.engine.inbox))
        message, _ = self.engine.inbox[place]
        if self.plan.at(message.no).inline:
            return
        del self.engine.inbox[place]
        claimed = self.engine.carrier._claim(message)
        if claimed is not None:
            self.held.append(claimed)

    def _end(self) -> None:
        attempts.end(self.engine, self.held.pop(self.random.randrange(len(self.held))))

    def _lose(self) -> None:
        """The worker of an attempt is lost, or only thought to be: it may still end it."""
        claimed = self.random.choice(self.held)
        step = attempts.step(self.engine, self.run_id, claimed.path)
        if (step.status, step.attempt) != ("running", claimed.attempt):
            return
        attempts.lose(self.engine, claimed)
        if self.random.random() < 0.5:
            self.held.remove(claimed)

    def _outrun(self) -> None:
        timed = (
            select(Step.path)
            .where(Step.run_id == self.run_id, Step.timeout_at.is_not(None))
            .order_by(Step.no)
        )
        with self.engine.deps.db.read() as session:
            paths = list(session.scalars(timed))
        if paths and self.random.random() < 0.3:
            attempts.outrun(self.engine, self.run_id, self.random.choice(paths))

    def _pause(self) -> None:
        if self.engine.row(self.run_id).stopping is None:
            runs.pause(self.engine.deps, self.engine.actor, self.run_id, "wait")

    def _resume(self) -> bool:
        if self.status != RunStatus.PAUSED:
            return False
        self.engine.send(runs.resume(self.engine.deps, self.engine.actor, self.run_id))
        return self._is_under_way()

    def _abort(self) -> None:
        state = self.engine.row(self.run_id)
        if state.status in (*RUN_TERMINAL, RunStatus.COMPENSATING) or state.stopping is not None:
            return
        deps, actor, undo = self.engine.deps, self.engine.actor, self.random.random() < 0.5
        self.engine.send(runs.abort(deps, actor, self.run_id, "enough", compensate=undo))
