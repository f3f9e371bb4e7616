"""Invariants of containers: what they count is what there is, and no more runs than may."""

from collections import Counter
from collections.abc import Iterator

from models.branch import Branch, Container
from models.states import STEP_TERMINAL, StepStatus
from orchestrator.core import branching
from orchestrator.core.branching import Counters as Counted
from orchestrator.services.fsck_record import STALE, Check, Record, Violation


def branches_count(record: Record) -> Iterator[Violation]:
    """17: a branch counts its open steps, without what is undone later, and its container has it once, in order."""
    open_ = Counter(
        record.plan.branch(step.no)
        for step in record.rows.steps
        if step.status not in (*STEP_TERMINAL, StepStatus.COMPENSATING) and not record.undoes(step)
    )
    for branch in record.rows.branches:
        found = open_[branch.number]
        if branch.open_steps != found:
            sentence = f"branch {branch.position} counts {branch.open_steps} open steps, there are {found}"
            yield record.broken(17, sentence, record.steps[branch.container].path)


def containers_count(record: Record) -> Iterator[Violation]:
    """17: a container counts its branches; a loop's iterations and a map's results are as many as they may be."""
    by_container: dict[int, list[Branch]] = {}
    for branch in record.rows.branches:
        if branch.status == STALE:
            continue
        by_container.setdefault(branch.container, []).append(branch)
    for row in record.rows.containers:
        found = sorted(by_container.get(row.no, []), key=lambda branch: branch.position)
        path = record.steps[row.no].path
        for sentence in _wrong(record, row, found):
            yield record.broken(17, sentence, path)


def _wrong(record: Record, row: Container, found: list[Branch]) -> Iterator[str]:
    if [branch.position for branch in found] != list(range(row.opened)):
        yield f"it has opened {row.opened} branches, {len(found)} are there"
    ended = sum(branch.status in ("success", "failed") for branch in found)
    failed = sum(branch.status == "failed" for branch in found)
    if (row.ended, row.failed) != (ended, failed):
        yield f"it counts {row.ended} branches ended and {row.failed} failed, there are {ended} and {failed}"
    node = record.plan.at(row.no)
    counters = Counted(total=row.total, opened=row.opened, ended=row.ended, failed=row.failed)
    most, open_ = branching.most_at_once(node), sum(branch.status == "open" for branch in found)
    if record.steps[row.no].status == StepStatus.WAITING and open_ > most:
        yield f"{open_} branches are open, {most} may be"
    if branching.has_condition(node) and row.opened > node.fields["max_iterations"]:
        yield f"it has begun {row.opened} iterations, {node.fields['max_iterations']} are allowed"
    step = record.steps[row.no]
    if step.status == StepStatus.SUCCESS and not record.is_degraded(step):
        yield from _wrong_at_its_end(row, counters, branching.tolerates(node, counters))


def _wrong_at_its_end(row: Container, counters: Counted, tolerated: bool) -> Iterator[str]:
    if row.opened != row.ended or (row.total is not None and row.ended != row.total):
        yield f"it succeeded with {row.ended} of {row.total} branches ended, {row.opened} opened"
    if not tolerated:
        yield f"it succeeded although {counters.failed} branches failed"


def items_are_there(record: Record) -> Iterator[Violation]:
    """17: a container over a collection has all its items."""
    for row in record.rows.containers:
        chunks = [chunk for chunk in record.rows.items if chunk.no == row.no]
        if not chunks:
            continue
        places = [chunk.first + at for chunk in chunks for at in range(len(chunk.items))]
        if places != list(range(row.total or 0)):
            yield record.broken(17, f"{len(places)} items are stored of {row.total}", record.steps[row.no].path)


BRANCHES: tuple[Check, ...] = (branches_count, containers_count, items_are_there)
