"""Invariants of a run's rows among themselves: ends, attempts, leases, keys, what is overdue, whose it is."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from models.states import RUN_TERMINAL, STARTING, STEP_TERMINAL, RunStatus, StepStatus
from models.step import Step
from orchestrator.core import lanes
from orchestrator.core.definition import digest
from orchestrator.core.lanes import Kind
from orchestrator.services.fsck_record import Check, Record, Violation

OVERDUE_SECONDS = 30.0
_UNDOING = (StepStatus.COMPENSATING, StepStatus.COMPENSATED, StepStatus.FAILED)


def ends_agree(record: Record) -> Iterator[Violation]:
    """1: run and steps end together, and the run counts its open steps."""
    run, steps = record.rows.run, record.rows.steps
    open_ = [step for step in steps if step.status not in STEP_TERMINAL]
    if run.status in RUN_TERMINAL:
        for step in open_:
            yield record.broken(1, f"it is {step.status}, its run is {run.status}", step.path)
    elif not open_ and run.status != RunStatus.COMPENSATING:
        yield record.broken(1, f"every step has ended, the run is {run.status}")
    if run.open_steps != len(open_):
        yield record.broken(1, f"the run counts {run.open_steps} open steps, there are {len(open_)}")


def one_winner(record: Record) -> Iterator[Violation]:
    """4, by the attempts: a step that succeeded has one attempt that did, its last one.

    Those from before it was last reset do not count.
    """
    wins: dict[int, list[int]] = {}
    for attempt in record.rows.attempts:
        if attempt.status == "success" and record.is_since_reset(attempt):
            wins.setdefault(attempt.no, []).append(attempt.number)
    for step in record.rows.steps:
        found = wins.get(step.no, [])
        expected = [step.attempt] if _has_succeeded(record, step) else []
        if found != expected:
            yield record.broken(
                4, f"it is {step.status} at attempt {step.attempt}, attempts {found} succeeded", step.path
            )


def _has_succeeded(record: Record, step: Step) -> bool:
    """Whether a step has a success that stands: one that is undone has, unless that came after it was given up."""
    if step.status == StepStatus.SUCCESS:
        return True
    return _succeeded_first(record, step.path) if step.status in _UNDOING else False


def _succeeded_first(record: Record, path: str) -> bool:
    changes = [change for change in record.told.changes if change.path == path]
    undone = next((c for c in reversed(changes) if c.before.status not in _UNDOING), None)
    return undone is not None and undone.before.status is StepStatus.SUCCESS


def nothing_left_behind(record: Record) -> Iterator[Violation]:
    """9: the end of a step ends its lease and timers; that of a run leaves no effect undone for long."""
    for step in record.rows.steps:
        if step.status not in STEP_TERMINAL:
            continue
        for name in ("lease_until", "timeout_at", "due_at"):
            if getattr(step, name) is not None:
                yield record.broken(9, f"it is {step.status} and still has {name}", step.path)
    if record.rows.run.status in RUN_TERMINAL:
        for entry in record.rows.outbox:
            if _late(entry.due_at, record.rows.now):
                yield record.broken(9, f"outbox entry {entry.id} ({entry.kind}) is still to be done")


def keys_are_apart(record: Record) -> Iterator[Violation]:
    """13: no two steps of a run do their work under one key."""
    keys = Counter(_key(step) for step in record.rows.steps)
    for step in record.rows.steps:
        if keys[_key(step)] > 1:
            yield record.broken(13, f"its effect key {_key(step)!r} is another step's too", step.path)


def _key(step: Step) -> str:
    return step.idempotency_key or f"{step.run_id}:{step.path}"


def version_is_unchanged(record: Record) -> Iterator[Violation]:
    """14: the stored hash is that of the stored definition."""
    version = record.rows.version
    if digest(version.definition) != version.digest:
        yield record.broken(14, f"version {version.number} of {record.rows.workflow.name} was changed")


def nothing_overdue(record: Record) -> Iterator[Violation]:
    """15: what is due is done within 30 s. A paused run's timers stand still."""
    rows = record.rows
    if rows.run.status not in STARTING:
        return
    for entry in rows.outbox:
        if _late(entry.due_at, rows.now):
            yield record.broken(15, f"outbox entry {entry.id} ({entry.kind}) is overdue")
    times_out = rows.run.status == RunStatus.RUNNING and rows.run.stopping is None
    if times_out and _late_virtually(record, rows.run.timeout_at):
        yield record.broken(15, "the run has outrun its timeout")
    for step in rows.steps:
        late = _overdue(record, step)
        if late:
            yield record.broken(15, f"it is {step.status} and {late}", step.path)


def _overdue(record: Record, step: Step) -> str | None:
    now, status = record.rows.now, step.status
    if status == StepStatus.RUNNING and _late(step.lease_until, now):
        return "its lease has expired"
    if status not in STEP_TERMINAL and _late(step.timeout_at, now):
        return "its attempt has outrun its timeout"
    if status not in (*STEP_TERMINAL, StepStatus.PENDING) and _late_virtually(record, step.deadline_at):
        return "it has outrun its total_timeout"
    if status == StepStatus.RUNNING and _late(step.beat_until, now):
        return "its handler is silent"
    if status in (StepStatus.WAITING, StepStatus.RETRYING) and _late_virtually(record, step.due_at):
        return "its timer is due"
    waits = status == StepStatus.QUEUED and step.sent_at is None and _late(step.queued_at, now)
    if waits and step.lane is not None and lanes.parse(step.lane).kind is not Kind.QUEUE:
        return None  # for a slot, or by a rate: however long it takes
    if waits and record.rows.run.stopping is None and not record.rows.sent.get(step.queue):
        return "was never sent, with room in its queue"
    return None


def _late(moment: datetime | None, now: float) -> bool:
    return moment is not None and now - moment.timestamp() > OVERDUE_SECONDS


def _late_virtually(record: Record, moment: datetime | None) -> bool:
    return moment is not None and record.real(record.virtual_now - moment.timestamp()) > OVERDUE_SECONDS


def workspaces_agree(record: Record) -> Iterator[Violation]:
    """16: a run is of its workflow's workspace, its version of its workflow, its labels of its workspace."""
    rows = record.rows
    if rows.workflow.workspace_id != rows.run.workspace_id:
        yield record.broken(16, f"the run is of another workspace than workflow {rows.workflow.name}")
    if rows.version.workflow_id != rows.run.workflow_id:
        yield record.broken(16, "the run's version is of another workflow")
    for label in rows.labels:
        if label.workspace_id != rows.run.workspace_id:
            yield record.broken(16, f"label {label.key} is of another workspace")


ROWS: tuple[Check, ...] = (
    ends_agree,
    one_winner,
    nothing_left_behind,
    keys_are_apart,
    version_is_unchanged,
    nothing_overdue,
    workspaces_agree,
)
