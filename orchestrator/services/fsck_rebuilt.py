"""Invariant 8 for containers, branches and counters: rebuilding a run from its events would give its rows."""

from collections.abc import Iterator
from typing import Any

from models.branch import Branch, Container
from models.states import StepStatus
from orchestrator.core.rebuild import BranchAt, ContainerAt
from orchestrator.services.fsck_record import Check, Record, Violation


def containers_as_told(record: Record) -> Iterator[Violation]:
    """8: each container counts what its events tell."""
    told = record.state.containers
    rows = {row.no: row for row in record.rows.containers}
    for no in sorted(told.keys() | rows.keys()):
        said = None if no not in rows else _container(record, rows[no])
        if said != told.get(no):
            yield record.broken(8, f"container {no} is {said}, the events tell {told.get(no)}", _path(record, no))


def branches_as_told(record: Record) -> Iterator[Violation]:
    """8: each branch is as its events tell."""
    told = record.state.branches
    rows = {row.number: row for row in record.rows.branches}
    for number in sorted(told.keys() | rows.keys()):
        said = None if number not in rows else _branch(rows[number])
        if said != told.get(number):
            found = f"branch {number} is {said}, the events tell {told.get(number)}"
            yield record.broken(8, found, _path(record, (rows.get(number) or told[number]).container))


def joins_as_told(record: Record) -> Iterator[Violation]:
    """8: a step that has not begun has kept those of its in-edges that live."""
    if record.rows.run.stopping is not None:
        return
    for step in record.state.steps.values():
        row = record.steps.get(step.no)
        if row is None or step.status is not StepStatus.PENDING or row.status != step.status:
            continue
        if _places(row.live_in) != _places(step.told.live_in):
            found = f"it has kept the in-edges {row.live_in}, the events tell {step.told.live_in}"
            yield record.broken(8, found, step.path)


def _places(live_in: str | None) -> set[str]:
    return set((live_in or "").split(",")) - {""}


def _path(record: Record, no: int) -> str | None:
    return record.steps[no].path if no in record.steps else None


def _container(record: Record, row: Container) -> ContainerAt:
    return ContainerAt(
        no=row.no,
        path=_path(record, row.no) or "",
        total=row.total,
        opened=row.opened,
        ended=row.ended,
        failed=row.failed,
    )


def _branch(row: Branch) -> BranchAt:
    error: Any = row.error
    return BranchAt(
        number=row.number,
        container=row.container,
        position=row.position,
        status=row.status,
        open_steps=row.open_steps,
        error=error,
    )


REBUILT: tuple[Check, ...] = (containers_as_told, branches_as_told, joins_as_told)
