"""The sweeps as tasks, one each, fired by beat. What beat fires together comes as one message and is one look."""

from collections.abc import Sequence

from beat_schedule import expires
from orchestrator.services import sweeps, ticks
from orchestrator.services.sweeps import SWEEPS
from tasks import backlog, parts
from tasks.app import app
from tasks.publishing import Outgoing, publish_many


def sweep(name: str) -> int:
    """Run one sweep and send what it found; how many rows it found."""
    own = parts.get()
    swept = sweeps.run(own.deps, name, backlog.length, on_beat=True)
    own.carrier.send(swept.effects)
    return swept.found


@app.task(name="orchestrator.sweeps")
def tick(names: Sequence[str]) -> None:
    """Run those that have anything to do, each as a task, so that a slow one holds up no other."""
    deps = parts.get().deps
    due = ticks.due(deps, [name for name in names if name in SWEEPS])
    if len(due) == 1:
        sweep(due[0])
    elif due:
        after = expires(deps.settings.sweep_seconds)
        tasks = [f"orchestrator.sweep.{name}" for name in due]
        publish_many(app, [Outgoing(task=task, args=(), queue="sweeps", expires=after) for task in tasks])


def _register(name: str) -> None:
    @app.task(name=f"orchestrator.sweep.{name}")
    def task() -> None:
        sweep(name)


for _name in SWEEPS:
    _register(_name)
