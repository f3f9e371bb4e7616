"""People: they pause, resume and abort while things go wrong, and see a healed world to its end."""

from typing import TYPE_CHECKING

from models.errors import ConflictError
from models.states import RunStatus
from orchestrator.services import runs
from tests.simulation.workers import Process
from tests.support.calls import everything

if TYPE_CHECKING:
    from tests.simulation.world import World


class Operator:
    """Acts through the services; what a killed API did not commit is asked for again."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._limit = 20

    def plan(self) -> None:
        """Acts at times that the seed decides."""
        random = self._world.random
        if self._world.faults.operator:
            for act in random.sample((self.pause, self.pause, self.resume_once, self.abort), 2):
                self._world.later(random.random() * 10, act)

    def abort(self) -> None:
        deps, actor = self._deps
        self._do(lambda: self._world.broker.send(runs.abort(deps, actor, self._world.run_id, "enough")))

    def pause(self) -> None:
        deps, actor = self._deps
        self._do(lambda: self._world.broker.send(runs.pause(deps, actor, self._world.run_id, "wait")))
        self._world.later(self._world.random.random() * 5, self.resume_once)

    def resume_once(self) -> None:
        self._limit += 20
        budget = {"limit_cents": self._limit} if "budget" in self._world.workflow.definition else None
        self._resume(self._world.run_id, budget)

    def _resume(self, run_id: str, budget: dict[str, int] | None) -> None:
        deps, actor = self._deps
        self._do(lambda: self._world.broker.send(runs.resume(deps, actor, run_id, {}, budget)))

    def resume(self) -> None:
        """From now on resume the run, and what it called, whenever it is paused."""
        for run in everything(self._world.engine) if self._world.workflow.called else ():
            if run.status == RunStatus.PAUSED and run.depth:
                self._resume(run.id, None)
        if self._world.engine.row(self._world.run_id).status == RunStatus.PAUSED:
            self.resume_once()
        self._world.later(2.0, self.resume)

    @property
    def _deps(self) -> tuple[runs.Deps, runs.Actor]:
        return self._world.engine.deps, self._world.engine.actor

    def _do(self, act: object) -> None:
        def once() -> None:
            try:
                act()  # type: ignore[operator]
            except ConflictError:
                pass  # the run is in no state for it

        self._world.act(Process(name="api"), once)
