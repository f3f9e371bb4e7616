"""Runs that clients follow: rows alone, to each of which one event a second is written."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from threading import Event
from typing import Any

from sqlalchemy import insert, update

from models.base import uuid7
from models.database import OUTAGES, Database
from models.event import Event as Row
from models.queries import workflows as queries
from models.run import Run, RunData
from orchestrator.core import document
from orchestrator.services import workflows
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once

KIND = "step.queued"


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """Writes the events of these runs, by one transaction a second."""

    db: Database
    runs: list[str]

    def write(self, over: Event) -> None:
        """Until it is over."""
        seq = 2
        while not over.wait(1):
            with suppress(*OUTAGES):  # a process that stood still has lost the transaction that it was in
                self._write(seq)
                seq += 1

    def _write(self, seq: int) -> None:
        fixed = {"seq": seq, "type": KIND, "at": datetime.now().astimezone(), "data": {"attempt": 1}}
        with self.db.transaction() as session:
            session.execute(update(Run).where(Run.id.in_(self.runs)).values(seq=seq))
            session.execute(insert(Row), [{"run_id": run, **fixed} for run in self.runs])


def begin(deps: Deps, actor: Actor, count: int) -> Followed:
    """So many runs, each with one event."""
    workspace, workflow, version = _define(deps, actor)
    ids = [uuid7() for _ in range(count)]
    at = datetime.now().astimezone()
    fixed = {"workspace_id": workspace, "workflow_id": workflow, "version_id": version, "created_at": at}
    row = {"status": "running", "seq": 1, "open_steps": 1, "priority": 0, "has_budget": False}
    first = {"seq": 1, "type": "run.created", "at": at, "data": {}}
    with deps.db.transaction() as session:
        session.execute(insert(Run), [{"id": run, "cost_microcents": 0, **fixed, **row} for run in ids])
        session.execute(insert(RunData), [{"run_id": run, "inputs": {}, "variables": {}, "labels": {}} for run in ids])
        session.execute(insert(Row), [{"run_id": run, **first} for run in ids])
    return Followed(db=deps.db, runs=ids)


def _define(deps: Deps, actor: Actor) -> tuple[str, str, str]:
    definition: dict[str, Any] = {"name": "followed", "nodes": [{"id": "a", "type": "noop"}]}
    workflows.create(deps, actor, document.from_data(definition, deps.limits()), Once())
    with deps.db.read() as session:
        found = queries.version(session, actor.workspace_id, "followed", None)
    assert found is not None
    return actor.workspace_id, found.workflow_id, found.version_id
