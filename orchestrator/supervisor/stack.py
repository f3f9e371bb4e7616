"""What an `up` runs: the programs of a whole stack, from its settings."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.settings import Settings
from orchestrator.supervisor import commands, valkey
from orchestrator.supervisor.child import Program
from orchestrator.supervisor.place import Place

DRAINING, GATEWAY, BROKER = range(3)
CONTROL_PROCESSES = 2
STEP_THREADS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A stack to be. `workers` in all: the first carries control, sweeps and webhooks, the others steps."""

    settings: Settings
    place: Place
    url: str
    listener: int
    workers: int
    gateway: bool

    def broker(self) -> Program:
        """The embedded broker. Raises SettingsError when it is not installed."""
        argv = valkey.command(self.place.data_dir, self.settings.embedded_socket)
        return Program(name="valkey", argv=argv, env=self._env(), stage=BROKER)

    def preparation(self) -> Program:
        """A program that ends: migrations, the first key, the local gateway's row."""
        argv = (sys.executable, "-m", "orchestrator.supervisor.prepare")
        more = ("--gateway",) if self.gateway else ()
        return Program(name="prepare", argv=(*argv, *more), env=self._env())

    def rest(self) -> Iterator[Program]:
        """All but the broker: they need it and a migrated database."""
        yield self._api()
        yield from (self._worker(number) for number in range(1, self.workers + 1))
        yield self._beat()
        if self.gateway:
            argv = commands.gateway(data_dir=self.place.data_dir)
            yield Program(name="gateway", argv=argv, env=self._env(), stage=GATEWAY)

    def _api(self) -> Program:
        argv = commands.api(bind=f"fd://{self.listener}")
        return Program(name="api", argv=argv, env=self._env(), fds=(self.listener,), stage=DRAINING)

    def _worker(self, number: int) -> Program:
        if number == 1:
            work = {"queues": "control,webhooks,sweeps", "pool": "prefork", "name": "control"}
        else:
            name = "steps" if number == 2 else f"steps-{number - 1}"
            work = {"queues": "steps", "pool": "threads", "name": name}
        argv = commands.worker(
            **work,
            concurrency=CONTROL_PROCESSES if number == 1 else STEP_THREADS,
            log_level=self.settings.log_level,
        )
        return Program(name=f"worker-{number}", argv=argv, env=self._env(), stage=DRAINING)

    def _beat(self) -> Program:
        argv = commands.beat(data_dir=self.place.data_dir, log_level=self.settings.log_level)
        return Program(name="beat", argv=argv, env=self._env(), stage=DRAINING)

    def _env(self) -> dict[str, str]:
        given = {"ORCHESTRATOR_URL": self.url, **os.environ}
        return commands.environment(given, ORCHESTRATOR_DATA_DIR=str(self.place.data_dir))
