"""This process's parts, made when they are first needed, after any fork."""

import os
import threading
from dataclasses import dataclass
from functools import partial

from orchestrator.services import deps as services
from orchestrator.services import waking
from orchestrator.services.deps import Deps
from orchestrator.services.leases import LeaseKeeper
from orchestrator.services.steps import Carrier
from orchestrator.settings import Settings, load
from tasks import canvas
from tasks.foreign import CeleryTasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What tasks work with in one process."""

    pid: int
    deps: Deps
    carrier: Carrier


class _Process:
    """A holder that a fork cannot leak: parts made in another process are not ours."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: Parts | None = None

    def get(self) -> Parts:
        found = self._parts
        if found is not None and found.pid == os.getpid():
            return found
        with self._lock:
            if self._parts is None or self._parts.pid != os.getpid():
                self._parts = _build()
            return self._parts


_process = _Process()


def _build() -> Parts:
    deps = services.build(settings(), pool_size=16, foreign=CeleryTasks())
    keeper = LeaseKeeper(db=deps.db, seconds=deps.settings.lease_seconds)
    carrier = Carrier(deps=deps, send=canvas.sender(deps), keeper=keeper)
    deps.agents.listen(carrier.send, partial(waking.hear, deps, carrier.send))
    return Parts(pid=os.getpid(), deps=deps, carrier=carrier)


def settings() -> Settings:
    """The settings of this process's environment."""
    return load()


def get() -> Parts:
    """This process's parts."""
    return _process.get()
