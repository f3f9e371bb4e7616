"""The sweeps as tasks, one each, fired by beat."""

from orchestrator.services import sweeps
from orchestrator.services.sweeps import SWEEPS
from tasks import backlog, parts
from tasks.app import app


def sweep(name: str) -> int:
    """Run one sweep and send what it found; how many rows it found."""
    own = parts.get()
    swept = sweeps.run(own.deps, name, backlog.length, on_beat=True)
    own.carrier.send(swept.effects)
    return swept.found


def _register(name: str) -> None:
    @app.task(name=f"orchestrator.sweep.{name}")
    def task() -> None:
        sweep(name)


for _name in SWEEPS:
    _register(_name)
