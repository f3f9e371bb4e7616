"""Keeps children alive: starts them, restarts those that die, stops all in order and in time."""

import signal
import time
from collections.abc import Callable

from models.errors import OrchestratorError
from orchestrator.supervisor.child import Child, Program
from orchestrator.supervisor.place import Place
from orchestrator.supervisor.signals import Signals

TICK = 0.5
DEATHS_AT_START = 3
# Seconds to drain: API, workers and beat; then the gateway; then the broker. A stop may take 15 s in all.
_SHARE = (11.5, 1.0, 1.0)


class StartError(OrchestratorError):
    """A part of the stack does not come up."""

    code = "START_FAILED"


class Keeper:
    """The children of one supervisor. Single-threaded: forks with a preexec function allow nothing else."""

    def __init__(self, place: Place, signals: Signals, say: Callable[[str], None]) -> None:
        self._place = place
        self._signals = signals
        self._say = say
        self._children: list[Child] = []
        self._ready = False

    @property
    def stopping(self) -> bool:
        return self._signals.stops > 0

    def add(self, program: Program) -> None:
        """Start a child and keep it alive from now on."""
        child = Child(program, self._place)
        self._children.append(child)
        child.start()

    def wait_for(self, done: Callable[[], bool], seconds: float, what: Callable[[], str]) -> bool:
        """Keep the children until `done`; False when a stop was asked for first.

        Raises StartError after `seconds`, saying `what()` is missing, or when a child keeps dying.
        """
        deadline = time.monotonic() + seconds
        while not self.stopping:
            if done():
                return True
            if time.monotonic() > deadline:
                raise StartError(f"{what()} after {seconds:g} s; the logs are in {self._place.data_dir}/logs")
            self._tick(0.05)
        return False

    def keep(self) -> None:
        """Keep the children until a stop is asked for."""
        self._ready = True
        while not self.stopping:
            self._tick(TICK)

    def stop(self) -> None:
        """Drain and stop every child; one more stop signal, or the end of the time, kills the rest."""
        asked = self._signals.stops
        deadline = time.monotonic()
        for stage, share in enumerate(_SHARE):
            deadline += share
            living = [child for child in self._children if child.program.stage == stage]
            for child in living:
                child.terminate()
            while any(child.running for child in living) and time.monotonic() < deadline:
                if self._signals.stops > asked:
                    deadline = time.monotonic()
                self._signals.wait(min(TICK, deadline - time.monotonic()))
                for child in living:
                    child.reap()
            self._kill(living)

    def _kill(self, children: list[Child]) -> None:
        for child in children:
            if child.running:
                self._say(f"{child.name} did not end in time and is killed")
                child.signal(signal.SIGKILL)
        while any(child.running for child in children):
            for child in children:
                child.reap()
            self._signals.wait(0.02)

    def _tick(self, seconds: float) -> None:
        for child in self._children:
            how = child.reap()
            if how is not None:
                self._mourn(child, how)
            elif child.due_at is not None and child.due_at <= time.monotonic():
                child.start()
        due = [child.due_at - time.monotonic() for child in self._children if child.due_at is not None]
        self._signals.wait(min([seconds, *due]))

    def _mourn(self, child: Child, how: str) -> None:
        if not self._ready and child.deaths >= DEATHS_AT_START:
            raise StartError(f"{child.name} does not start: it {how}. Its log ends with:\n{child.log_tail()}")
        delay = child.postpone()
        log = self._place.log_file(child.name)
        self._say(f"{child.name} {how}; it starts again in {delay:g} s (log: {log})")
