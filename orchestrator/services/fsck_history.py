"""Invariants of a run's history: what its events tell, in order, against its plan and its rows."""

from collections.abc import Iterator

from models.states import RUN_TERMINAL, RunStatus, StepStatus
from orchestrator.core.plan import PlanNode
from orchestrator.core.replay import RUN_EVENTS, STEP_EVENTS, StepState
from orchestrator.services.fsck_record import Check, Record, Violation

_UNSTARTED = (StepStatus.PENDING, StepStatus.SKIPPED, StepStatus.ABORTED)
_COMPENSATION = ("step.compensating", "step.compensated")


def events_without_gap(record: Record) -> Iterator[Violation]:
    """2: numbered from 1 to the run's `seq`, and each move one that the tables allow."""
    found = [event.seq for event in record.rows.events]
    missing = sorted(set(range(1, record.rows.run.seq + 1)) - set(found))
    if missing:
        yield record.broken(2, f"events {missing[:10]} of {record.rows.run.seq} are not there")
    beyond = [seq for seq in found if seq > record.rows.run.seq or seq < 1]
    if beyond:
        yield record.broken(2, f"events {beyond[:10]} are beyond the run's {record.rows.run.seq}")
    for seq, sentence in record.told.illegal:
        yield record.broken(2, f"event {seq}: {sentence}, which is no legal move")


def joins_met(record: Record) -> Iterator[Violation]:
    """3: at each start, the edges decided by then met the node's join."""
    decided: dict[int, str | None] = {}
    for change in record.told.changes:
        step = record.by_path.get(change.path)
        if step is None:
            continue
        node = record.plan.at(step.no)
        started = change.before.status is StepStatus.PENDING and change.after.status not in _UNSTARTED
        if started and not _met(node, decided):
            yield record.broken(
                3, f"it became {change.after.status} at event {change.seq}, its join was not met", step.path
            )
        decided[node.no] = change.after.edges


def counters_agree(record: Record) -> Iterator[Violation]:
    """3: a pending step's counters are those that the decided edges of its sources give."""
    if not record.whole or record.rows.run.status in RUN_TERMINAL or record.rows.run.stopping is not None:
        return
    digits = {step.no: step.out_edges for step in record.rows.steps}
    for step in record.rows.steps:
        node = record.plan.at(step.no)
        if step.status != StepStatus.PENDING or not node.ins:
            continue
        undecided, live = _counters(node, digits)
        if (step.undecided, step.live) != (undecided, live):
            yield record.broken(
                3,
                f"it counts {step.undecided} undecided and {step.live} live in-edges, "
                f"the decisions give {undecided} and {live}",
                step.path,
            )


def _counters(node: PlanNode, digits: dict[int, str | None]) -> tuple[int, int]:
    undecided = live = 0
    for edge in node.ins:
        found = digits.get(edge.source)
        undecided += found is None
        live += found is not None and found[edge.index : edge.index + 1] == "1"
    return undecided, live


def _met(node: PlanNode, digits: dict[int, str | None]) -> bool:
    if not node.ins:
        return True
    undecided, live = _counters(node, digits)
    return undecided == 0 and live > 0 if node.need is None else live >= node.need


def one_success(record: Record) -> Iterator[Violation]:
    """4, by the log: a step completes once, unless it was reset or its compensation was retried."""
    seen: set[str] = set()
    for change in record.told.changes:
        if change.after.status is StepStatus.PENDING:
            seen.discard(change.path)
        elif change.after.status is StepStatus.SUCCESS:
            if change.path in seen:
                yield record.broken(4, f"it succeeds a second time at event {change.seq}", change.path)
            seen.add(change.path)


def rows_as_told(record: Record) -> Iterator[Violation]:
    """8: replay(events) = rows, for the run, its steps and its variables."""
    rows, told = record.rows, record.told
    if told.status != rows.run.status:
        yield record.broken(8, f"the run is {rows.run.status}, its events tell {told.status}")
    if told.variables != rows.data.variables:
        yield record.broken(8, f"variables {sorted(_differing(record))} differ from what the events tell")
    for path in told.steps.keys() ^ record.by_path.keys():
        yield record.broken(8, "only one of plan with events, and rows, knows it", path)
    for path, step in record.by_path.items():
        stored = StepState(
            status=StepStatus(step.status),
            attempt=step.attempt,
            tries=step.tries,
            losses=step.losses,
            route=step.route,
            edges=step.out_edges,
            degraded=step.status == StepStatus.SUCCESS and record.is_degraded(step),
            live_in=step.live_in if step.status != StepStatus.PENDING else None,
        )
        if path in told.steps and stored != told.steps[path]:
            yield record.broken(8, f"the row says {stored}, the events tell {told.steps[path]}", path)


def _differing(record: Record) -> set[str]:
    stored, told = record.rows.data.variables, record.told.variables
    return {key for key in stored.keys() | told.keys() if key not in stored or stored[key] != told.get(key)}


def success_has_its_start(record: Record) -> Iterator[Violation]:
    """11: a success comes out of running or waiting with the fence it started with; inline ones start then."""
    for change in record.told.changes:
        if change.after.status is not StepStatus.SUCCESS or change.before.status is StepStatus.PENDING:
            continue
        if change.before.status is StepStatus.FAILED:
            continue  # completed by hand
        if change.after.attempt != change.before.attempt:
            yield record.broken(
                11,
                f"attempt {change.after.attempt} succeeds at event {change.seq}, "
                f"attempt {change.before.attempt} had started",
                change.path,
            )


def nothing_after_the_end(record: Record) -> Iterator[Violation]:
    """12: a terminal event closes the log, but for compensation, audit and a reopening."""
    ended: RunStatus | None = None
    for event in record.rows.events:
        if event.type in RUN_EVENTS:
            to = RUN_EVENTS[event.type]
            reopens = to in (RunStatus.RUNNING, RunStatus.COMPENSATING)
            if ended is not None and not reopens:
                yield record.broken(12, f"event {event.seq} is {event.type}, after {ended}")
            ended = to if to in RUN_TERMINAL else None
        elif ended is not None and event.type in STEP_EVENTS and event.type not in _COMPENSATION:
            yield record.broken(12, f"event {event.seq} is {event.type}, after {ended}", event.step)


HISTORY: tuple[Check, ...] = (
    events_without_gap,
    joins_met,
    counters_agree,
    one_success,
    rows_as_told,
    success_has_its_start,
    nothing_after_the_end,
)
