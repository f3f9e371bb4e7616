"""`orchestrator rebuild`: a run's rows written again as its events tell them, where they differ.

What was under way is put so that the sweeps carry it on: unsent, with a lease that is over, or due. Outputs are kept
for each attempt, and are no part of it. Source: spec "engine", Checkpoints ("replay(events) must equal the rows").
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from models.branch import Branch, Container
from models.errors import ConflictError, NotFoundError
from models.queries import invariants, repairs, runs
from models.queries.dialect import as_id
from models.queries.invariants import RunRows
from models.queries.runs import RunInfo
from models.states import StepStatus
from models.step import Step
from orchestrator.core import values
from orchestrator.core.plan import Plan
from orchestrator.core.rebuild import BranchAt, ContainerAt, State, StepAt, rebuild
from orchestrator.services import data, looking
from orchestrator.services.deps import Deps
from orchestrator.services.rerun_keys import default


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is written: of a `step`, `branch`, `container` or the `run`; `was` None where there is no row."""

    what: str
    path: str
    was: Mapping[str, Any] | None
    now: Mapping[str, Any]


def carry_out(deps: Deps, run_id: str, *, dry_run: bool = False) -> list[Change]:
    """Rebuild a run; what was changed, or would be.

    Raises NotFoundError, ConflictError where the items of a container are gone and do not resolve any more.
    """
    with deps.db.transaction() as session:
        locked = runs.lock(session, run_id) if as_id(run_id) else None
        rows = None if locked is None else invariants.load(session, run_id)
        info = None if rows is None else runs.info(session, run_id)
        if rows is None or info is None:
            raise NotFoundError(f"there is no run {run_id}; `orchestrator runs` lists those that there are")
        plan = deps.plans.get(session, info.version_id)
        state = rebuild(plan, rows.events)
        mending = _Mending(
            deps=deps, session=session, plan=plan, info=info, rows=rows, state=state, write=not dry_run
        )
        mending.all()
        return mending.changes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mending:
    deps: Deps
    session: Session
    plan: Plan
    info: RunInfo
    rows: RunRows
    state: State
    write: bool
    changes: list[Change] = field(default_factory=list)

    def all(self) -> None:
        self._run()
        self._steps()
        self._containers()
        self._branches()
        self._items()
        self._results()

    def _run(self) -> None:
        told = {"status": self.state.status, "open_steps": self.state.open_steps}
        was = {"status": self.rows.run.status, "open_steps": self.rows.run.open_steps}
        if told != was and self._says("run", self.info.id, was, told):
            repairs.put_run(self.session, self.info.id, told)
        variables = dict(self.state.variables)
        if variables != self.rows.data.variables:
            before = {"variables": self.rows.data.variables}
            if self._says("run", self.info.id, before, {"variables": variables}):
                repairs.put_variables(self.session, self.info.id, variables)

    def _steps(self) -> None:
        rows = {row.no: row for row in self.rows.steps}
        for no, step in sorted(self.state.steps.items()):
            row = rows.get(no)
            was, told = None if row is None else _stored(row, step), _told(step)
            if was == told or not self._says("step", step.path, was, told):
                continue
            written = told | ({} if row is not None and row.status == step.status else self._course(step))
            if row is None:
                written |= self._new(step)
            repairs.put_step(self.session, self.info.id, no, written, there=row is not None)

    def _new(self, step: StepAt) -> dict[str, Any]:
        """What no event tells of a step: where it is queued, and its key."""
        key = f"{default(self.info.id, step.path)}:r{step.rerun}" if step.rerun else None
        queue = self.plan.at(step.no).queue
        counters = {"undecided": step.undecided, "live": step.live}
        return {**counters, "queue": queue, "in_chord": False, "sends": 0, "idempotency_key": key}

    def _course(self, step: StepAt) -> dict[str, Any]:
        """What lets a step in this status go on by itself."""
        course: dict[str, Any] = dict.fromkeys(("sent_at", "lease_until", "timeout_at", "due_at", "waiting_for"))
        course |= {"finished_at": True if step.ended else None, "in_chord": False}
        match step.status:
            case StepStatus.QUEUED:
                course |= {"queued_at": True, "sends": 0}
            case StepStatus.RUNNING:
                course |= {"lease_until": True}
            case StepStatus.RETRYING:
                course |= {"due_at": self._due(step.data.get("due_at", self.deps.clock.now()))}
            case StepStatus.WAITING:
                course |= {"due_at": self._asked_at(step), "waiting_for": step.data.get("reason")}
            case _:
                pass
        return course

    def _asked_at(self, step: StepAt) -> datetime | None:
        """When a parked step is looked at: at its time, or at once where its handler or its branches can tell more."""
        node, due = self.plan.at(step.no), step.data.get("due_at")
        if node.body is not None or looking.can_tell(self.deps, node.type):
            due = self.deps.clock.now()
        return None if due is None else self._due(due)

    def _due(self, at: float) -> datetime:
        return datetime.fromtimestamp(at, UTC)

    def _containers(self) -> None:
        rows = {row.no: row for row in self.rows.containers}
        for no, container in sorted(self.state.containers.items()):
            was = None if no not in rows else _counted(rows[no])
            told = _counted(container)
            if was != told and self._says("container", container.path, was, told):
                repairs.put_container(self.session, self.info.id, no, told)
        for no in sorted(rows.keys() - self.state.containers.keys()):
            path = self.state.steps[no].path if no in self.state.steps else str(no)
            if self._says("container", path, _counted(rows[no]), {}):
                repairs.drop_container(self.session, self.info.id, no)

    def _branches(self) -> None:
        rows = {row.number: row for row in self.rows.branches}
        for number, branch in sorted(self.state.branches.items()):
            was = None if number not in rows else _branched(rows[number])
            told = _branched(branch)
            path = f"{self.state.steps[branch.container].path}[{branch.position}]"
            if was == told or not self._says("branch", path, was, told):
                continue
            repairs.put_branch(self.session, self.info.id, number, told, there=was is not None)

    def _results(self) -> None:
        """What `collect` gives of the branches that are there again."""
        there = {row.number for row in self.rows.branches}
        for number, branch in sorted(self.state.branches.items()):
            collect = self.plan.at(branch.container).fields.get("collect")
            if number in there or branch.status != "success" or collect is None or not self.write:
                continue
            names = data.names(self.session, self.plan, self.info, no=branch.container)
            result = {"result": values.resolve(collect, names.after(number))}
            repairs.put_branch(self.session, self.info.id, number, result, there=True)

    def _items(self) -> None:
        there = repairs.with_items(self.session, self.info.id)
        for no, container in sorted(self.state.containers.items()):
            given = self.plan.at(no).fields.get("items")
            if given is None or no in there or not container.total:
                continue
            if self._says("container", container.path, {"items": None}, {"items": container.total}):
                repairs.put_items(self.session, self.info.id, no, self._resolved(container, given))

    def _resolved(self, container: ContainerAt, given: Any) -> list[Any]:
        found = values.resolve(given, data.names(self.session, self.plan, self.info, no=container.no))
        if not isinstance(found, list) or len(found) != container.total:
            raise ConflictError(
                f"the items of {container.path} are gone, and its definition does not give {container.total} any more; "
                f"rerun {container.path}, or fork the run from it"
            )
        return found

    def _says(self, what: str, path: str, was: Mapping[str, Any] | None, now: Mapping[str, Any]) -> bool:
        """Note a change; whether it is to be written."""
        differs = now if was is None or not now else {key: value for key, value in now.items() if was.get(key) != value}
        shown = None if was is None else {key: was.get(key) for key in differs or was}
        self.changes.append(Change(what=what, path=path, was=shown, now=differs))
        return self.write


def _told(step: StepAt) -> dict[str, Any]:
    told = step.told
    found = {
        "path": step.path,
        "status": told.status.value,
        "attempt": told.attempt,
        "tries": told.tries,
        "losses": told.losses,
        "route": told.route,
        "out_edges": told.edges,
        "live_in": told.live_in,
    }
    return found | ({"undecided": step.undecided, "live": step.live} if _begins(step) else {})


def _stored(row: Step, step: StepAt) -> dict[str, Any]:
    """A step's row in the terms of what is told; in which order the edges came makes no difference."""
    found = {key: getattr(row, key) for key in _told(step)}
    if set((row.live_in or "").split(",")) == set((step.told.live_in or "").split(",")):
        found["live_in"] = step.told.live_in
    return found


def _begins(step: StepAt) -> bool:
    return step.status is StepStatus.PENDING


def _counted(row: Container | ContainerAt) -> dict[str, Any]:
    return {"total": row.total, "opened": row.opened, "ended": row.ended, "failed": row.failed}


def _branched(row: Branch | BranchAt) -> dict[str, Any]:
    names = ("container", "position", "status", "open_steps", "error")
    return {name: getattr(row, name) for name in names}


def shown(changes: list[Change]) -> Iterator[dict[str, Any]]:
    """Changes as JSON."""
    for change in changes:
        was = None if change.was is None else dict(change.was)
        yield {"what": change.what, "path": change.path, "was": was, "now": dict(change.now)}
