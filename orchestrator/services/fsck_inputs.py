"""Invariant 10: the inputs that were given are those that chaining gives from what is stored."""

from collections.abc import Collection, Iterator

from models.queries.runs import RunInfo
from models.queries.steps import Stored, numbers
from models.states import StepStatus
from models.step import Attempt, Step
from orchestrator.core.plan import PlanNode
from orchestrator.services import data, inline
from orchestrator.services.data import Names
from orchestrator.services.fsck_record import Check, Record, Violation


def inputs_as_chained(record: Record) -> Iterator[Violation]:
    """Rebuild each attempt's input and compare its hash; a step that passes on must pass its live sources."""
    if not record.whole:
        return
    names = _names(record)
    steps = {step.no: step for step in record.rows.steps}
    for attempt in record.rows.attempts:
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
    stored = {step.no: _stored(step, record.attempts.get((step.no, step.attempt))) for step in rows.steps}

    def load(nos: Collection[int]) -> list[Stored]:
        return [stored[no] for no in nos]

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
    return Names(record.plan, info, load=load, variables=lambda: rows.data.variables)


def _stored(step: Step, attempt: Attempt | None) -> Stored:
    passed = attempt.passed if attempt is not None else None
    return Stored(
        no=step.no,
        status=StepStatus(step.status),
        attempt=step.attempt,
        out_edges=step.out_edges,
        output=None if attempt is None else attempt.output,
        passed=numbers(passed),
        error=None if attempt is None else attempt.error,
    )


INPUTS: tuple[Check, ...] = (inputs_as_chained,)
