"""The same shapes as workflows, started in this process and carried by the workers."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select

from benchmarks.measured import Measured
from benchmarks.shapes import Shape
from models.errors import ConflictError
from models.run import Run
from models.step import Attempt
from orchestrator.core.document import from_data
from orchestrator.services import runs, workflows, workspaces
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.runs import Trigger
from tasks import canvas

LIMIT = 900.0


@dataclass(slots=True, kw_only=True)
class Ours:
    """Runs shapes on the database and broker of `deps`."""

    deps: Deps
    actor: Actor = field(init=False)
    send: canvas.Sender = field(init=False)
    published: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        with self.deps.db.transaction() as session:
            workspace = workspaces.ensure_default(session)
            workspace_id = workspace.id
        scopes = frozenset({"admin"})
        self.actor = Actor(workspace_id=workspace_id, key_id="bench", scopes=scopes, name="bench")
        self.send = canvas.sender(self.deps)

    def run(self, shape: Shape, kind: str, cpu: Callable[[], float]) -> Measured:
        """Start the shape's runs, of nodes of type `kind`, and wait until all have succeeded.

        Raises RuntimeError if one does not.
        """
        name = self._publish(shape.definition(kind))
        spent, began = cpu(), time.time()
        ids = [self._start(name) for _ in range(shape.runs)]
        ended = self._wait(ids)
        spent = cpu() - spent
        latencies = [latency for run_id in ids for latency in self._latencies(shape, run_id)]
        return Measured(steps=shape.steps, seconds=ended - began, cpu=spent, latencies=latencies)

    def start(self, definition: dict[str, Any]) -> str:
        """Start one run of a workflow and leave it; its id."""
        return self._start(self._publish(definition))

    def _publish(self, definition: dict[str, Any]) -> str:
        name = str(definition["name"])
        if name not in self.published:
            self.published.add(name)
            with suppress(ConflictError):  # the same one, of another process
                workflows.create(self.deps, self.actor, from_data(definition, self.deps.limits()), Once())
        return name

    def _start(self, name: str) -> str:
        created = runs.create(self.deps, self.actor, name, Trigger())
        self.send(created.effects)
        return created.run_id

    def _wait(self, ids: list[str]) -> float:
        """When the last of these runs ended, by the database's clock."""
        deadline = time.monotonic() + LIMIT
        while True:
            with self.deps.db.glance() as session:
                standing = select(Run.status, func.count(), func.max(Run.finished_at)).where(Run.id.in_(ids))
                by_status = {
                    status: (count, at)
                    for status, count, at in session.execute(standing.group_by(Run.status))
                }
            if set(by_status) == {"success"}:
                ended = by_status["success"][1]
                assert ended is not None
                return ended.timestamp()
            if set(by_status) & {"failed", "aborted", "paused"} or time.monotonic() > deadline:
                raise RuntimeError(f"the runs did not end in success: {by_status}")
            time.sleep(0.05)

    def _latencies(self, shape: Shape, run_id: str) -> list[float]:
        """From the commit of a step's last predecessor, just about, to the start of its body."""
        with self.deps.db.read() as session:
            rows = session.execute(
                select(Attempt.no, Attempt.finished_at, Attempt.output).where(
                    Attempt.run_id == run_id, Attempt.status == "success"
                )
            ).all()
        ended = {no: at.timestamp() for no, at, _ in rows if at is not None}
        began = {no: output["at"] for no, _, output in rows}
        return [
            began[target] - max(ended[source] for source in sources)
            for target, sources in shape.sources().items()
        ]
