"""Invariant 10: the inputs that were given are those that chaining gives from what is stored."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from models.branch import Branch
from models.queries.branches import BranchRow
from models.queries.runs import RunInfo
from models.queries.steps import Stored, numbers
from models.states import StepStatus
from models.step import Attempt, Step
from orchestrator.core.plan import PlanNode
from orchestrator.services import data, inline
from orchestrator.services.data import Names
from orchestrator.services.fsck_record import STALE, Check, Record, Violation

UNDONE = (StepStatus.FAILED, StepStatus.COMPENSATING, StepStatus.COMPENSATED)


def inputs_as_chained(record: Record) -> Iterator[Violation]:
    """Rebuild each attempt's input and compare its hash; a step that passes on must pass its live sources.

    What was given before a reset was of other edges and outputs.
    """
    if not record.whole:
        return
    names = _names(record)
    steps = {step.no: step for step in record.rows.steps}
    for attempt in filter(record.is_current, record.rows.attempts):
        step = steps[attempt.no]
        node = record.plan.at(attempt.no)
        if attempt.input_digest is not None:
            given = names.chained(node, step.live_in) | (attempt.resolved or {})
            if data.digest(given) != attempt.input_digest:
                yield record.broken(
                    10, f"attempt {attempt.number} was given another input than its in-edges make", step.path
                )
        if attempt.passed is not None and attempt.passed != _passed(names, node, step):
            yield record.broken(10, f"attempt {attempt.number} passes on {attempt.passed}", step.path)


def _passed(names: Names, node: PlanNode, step: Step) -> str:
    return ",".join(map(str, inline.passed_on(names, names.live_sources(node, step.live_in))))


def _names(record: Record) -> Names:
    rows = record.rows
    info = RunInfo(
        id=rows.run.id,
        workspace_id=rows.run.workspace_id,
        workflow=rows.workflow.name,
        version_id=rows.version.id,
        has_budget=rows.run.has_budget,
        priority=rows.run.priority,
        inputs=rows.data.inputs,
        overrides=rows.data.overrides,
    )
    return Names(record.plan, info, _Loaded(record))


@dataclass(frozen=True)
class _Loaded:
    """The rows of a record, as names read them."""

    record: Record

    def stored(self, nos: Collection[int]) -> list[Stored]:
        record = self.record
        found = [record.steps[no] for no in nos]
        return [_stored(step, record.attempts.get((step.no, step.attempt))) for step in found]

    def undone(self, no: int, attempt: int) -> Stored:
        found = self.record.attempts[no, attempt]
        return Stored(
            no=no,
            status=StepStatus.SUCCESS,
            attempt=attempt,
            out_edges=None,
            output=found.output,
            passed=numbers(found.passed),
        )

    def variables(self) -> Mapping[str, Any]:
        found: dict[str, Any] = self.record.rows.data.variables
        return found

    def given(self, no: int) -> tuple[str | None, Any]:
        step = self.record.steps[no]
        attempt = self.record.attempts.get((no, step.attempt))
        return step.live_in, None if attempt is None else attempt.resolved

    def total(self, no: int) -> int | None:
        return next((row.total for row in self.record.rows.containers if row.no == no), None)

    @cached_property
    def _items(self) -> dict[int, list[Any]]:
        found: dict[int, list[Any]] = {}
        for chunk in self.record.rows.items:
            found.setdefault(chunk.no, []).extend(chunk.items)
        return found

    @cached_property
    def _branches(self) -> dict[int, BranchRow]:
        return {row.number: _branch(row) for row in self.record.rows.branches}

    def item(self, no: int, position: int) -> tuple[bool, Any]:
        items = self._items.get(no)
        return (False, None) if items is None else (True, items[position])

    def branch(self, number: int) -> BranchRow:
        return self._branches[number]

    def branch_at(self, no: int, position: int) -> BranchRow | None:
        return next((row for row in self.branches(no) if row.position == position), None)

    def branches(self, no: int) -> list[BranchRow]:
        found = [row for row in self._branches.values() if row.container == no and row.status != STALE]
        return sorted(found, key=lambda row: row.position)


def _branch(row: Branch) -> BranchRow:
    return BranchRow(
        number=row.number,
        container=row.container,
        position=row.position,
        status=row.status,
        error=row.error,
        result=row.result,
    )


def _stored(step: Step, attempt: Attempt | None) -> Stored:
    passed = attempt.passed if attempt is not None else None
    return Stored(
        no=step.no,
        status=_came_out(step, attempt),
        attempt=step.attempt,
        out_edges=step.out_edges,
        output=None if attempt is None else attempt.output,
        passed=numbers(passed),
        error=None if attempt is None else attempt.error,
    )


def _came_out(step: Step, attempt: Attempt | None) -> StepStatus:
    """How a step ended before it was undone, if it was."""
    if attempt is None or step.status not in UNDONE:
        return StepStatus(step.status)
    if attempt.status == "success":
        return StepStatus.SUCCESS
    return StepStatus.SKIPPED if attempt.error is None else StepStatus.FAILED


INPUTS: tuple[Check, ...] = (inputs_as_chained,)
