"""Invariant 5: a budget's reservations, walked event by event, and costs that add up."""

from collections.abc import Iterator

from models.states import RUN_TERMINAL, StepStatus
from models.step import Attempt
from orchestrator.core.replay import Change
from orchestrator.services.fsck_record import Check, Record, Violation

_HOLDS = (StepStatus.RUNNING, StepStatus.WAITING)


def reservations_fit(record: Record) -> Iterator[Violation]:
    """At each start spent + reserved ≤ limit. Before it was last raised the limit may have been another one."""
    budget = record.rows.budget
    if budget is None:
        return
    known_from = max((e.seq for e in record.rows.events if e.type in ("run.resumed", "run.reopened")), default=0)
    for seq, path, held in _held(record):
        if path is not None and seq > known_from and not _is_undoing(record, path) and held > budget.limit_microcents:
            yield record.broken(
                5, f"its start at event {seq} took {held} of {budget.limit_microcents} micro-cents", path
            )


def _is_undoing(record: Record, path: str) -> bool:
    """Whether a step is a compensation, which starts whatever is left."""
    step = record.by_path.get(path)
    return step is not None and record.undoes(step)


def _held(record: Record) -> Iterator[tuple[int, str | None, int]]:
    """(seq, path of a step that starts, spent + reserved then), over the log."""
    changes = {change.seq: change for change in record.told.changes}
    held = 0
    for event in record.rows.events:
        change = changes.get(event.seq)
        if event.type == "step.fenced":
            attempt = _attempt(record, event.data.get("step"), event.data.get("attempt"))
            held += attempt.cost_microcents - attempt.reserved_microcents if attempt else 0
        if change is None or _resumed(change):
            continue
        if change.before.status in _HOLDS and change.after.status is not StepStatus.WAITING:
            ended = _attempt(record, change.path, change.before.attempt)
            held += _paid(ended) - ended.reserved_microcents if ended else 0
        if change.after.status is StepStatus.RUNNING:
            begun = _attempt(record, change.path, change.after.attempt)
            held += begun.reserved_microcents if begun else 0
            yield event.seq, change.path, held


def _resumed(change: Change) -> bool:
    """A parked attempt that goes on keeps what it had reserved at its start."""
    return change.before.status is StepStatus.WAITING and change.after.status is StepStatus.RUNNING


def _attempt(record: Record, path: str | None, number: int | None) -> Attempt | None:
    """An attempt that the budget pays for; one that called a run is none, since that pays for itself."""
    step = record.by_path.get(path or "")
    if step is None or record.plan.at(step.no).calls:
        return None
    return record.attempts.get((step.no, number or 0))


def _paid(attempt: Attempt) -> int:
    """What an attempt was settled at when it ended; one that was given up, at its estimate until it reports."""
    return attempt.reserved_microcents if attempt.status == "fenced" else attempt.cost_microcents


def sums_agree(record: Record) -> Iterator[Violation]:
    """The run's cost is its attempts'; a budget holds what runs or is parked, nothing at the end, and has spent
    the cost, in the run and in all that it calls."""
    run, budget, drawn = record.rows.run, record.rows.budget, record.rows.drawn
    cost = sum(attempt.cost_microcents for attempt in record.rows.attempts)
    if run.cost_microcents != cost:
        yield record.broken(5, f"the run cost {run.cost_microcents} micro-cents, its attempts {cost}")
    if budget is None or drawn is None:
        return
    if budget.reserved_microcents != drawn.reserved:
        yield record.broken(
            5, f"{budget.reserved_microcents} micro-cents are reserved, what runs holds {drawn.reserved}"
        )
    if drawn.open == 0 and budget.reserved_microcents != 0:
        yield record.broken(5, f"{budget.reserved_microcents} micro-cents are reserved after the end")
    if budget.spent_microcents != drawn.cost:
        yield record.broken(5, f"{budget.spent_microcents} micro-cents are spent, attempts cost {drawn.cost}")


def cost_is_brought_up(record: Record) -> Iterator[Violation]:
    """What a called run has cost is the cost of the attempt that called it, once that knows."""
    run, found = record.rows.run, record.rows.brought_up
    if found is None or run.status not in RUN_TERMINAL or record.rows.outbox:
        return
    if found != run.cost_microcents:
        yield record.broken(
            5, f"it cost {run.cost_microcents} micro-cents, which count for {found} at its caller"
        )


COSTS: tuple[Check, ...] = (reservations_fit, sums_agree, cost_is_brought_up)
