"""Invariant 6: what is undone, and in which order."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from models.event import Event
from models.queries.compensations import is_taken_over
from models.states import StepStatus
from orchestrator.core.containers_told import Containers
from orchestrator.core.replay import Change
from orchestrator.services.fsck_record import STALE, Check, Record, Violation


@dataclass(slots=True)
class _Done:
    """The steps that stand as done, each by the event that told of its success; `last` has the latest on top.

    What a fork has taken over is its origin's to undo. Steps whose compensation asks a called run are not in `last`:
    whether that has anything to undo is its own.
    """

    record: Record
    at: dict[str, int] = field(default_factory=dict)
    late: dict[str, int] = field(default_factory=dict)
    last: list[tuple[int, str]] = field(default_factory=list)
    copied: dict[str, dict[int, int]] = field(default_factory=dict)
    containers: Containers = field(default_factory=Containers)
    undone: set[str] = field(default_factory=set)

    def succeed(self, path: str, event: Event) -> None:
        copied = self.copied.setdefault(path, {})
        if "copied" in event.data:
            copied[event.data["attempt"]] = event.data["copied"]
        if not is_taken_over(copied, event.data["attempt"]):
            self.take(path, event.seq)

    def take(self, path: str, seq: int) -> None:
        self.at[path] = seq
        self.undone.discard(path)
        self.late.pop(path, None)
        self._line_up(path, seq)

    def take_late(self, path: str, seq: int) -> None:
        """An attempt that was given up has succeeded; where a later one has too, both had one effect, by their key."""
        if path not in self.at and path not in self.undone:
            self.late[path] = seq
            self._line_up(path, seq)

    def _line_up(self, path: str, seq: int) -> None:
        step = self.record.by_path.get(path)
        undone_by = None if step is None else self.record.plan.at(step.no).undone_by
        if undone_by is not None and not self.record.plan.at(undone_by).asks:
            heapq.heappush(self.last, (-seq, path))

    def drop(self, path: str) -> int | None:
        late = self.late.pop(path, None)
        return self.at.pop(path, late)

    def latest(self) -> tuple[int, str] | None:
        while self.last:
            seq, path = -self.last[0][0], self.last[0][1]
            if seq in (self.at.get(path), self.late.get(path)) and not self._is_stale(path):
                return seq, path
            heapq.heappop(self.last)
        return None

    def _is_stale(self, path: str) -> bool:
        """Whether a container around a step has been opened anew since, without its branch."""
        around = path.rpartition("/")[0]
        branch = self.containers.branches.get(around)
        return bool(around) and ((branch is not None and branch.status == STALE) or self._is_stale(around))


def compensated_in_reverse(record: Record) -> Iterator[Violation]:
    """6: one after the other is undone, and of what is done and has a compensation the one that completed last."""
    changes = {change.seq: change for change in record.told.changes}
    done, going = _Done(record), dict[str, int]()
    for event in record.rows.events:
        change = changes.get(event.seq)
        done.containers.take(event)
        if event.type == "step.fenced" and event.data.get("undo"):
            done.take_late(event.data["step"], event.seq)
        elif change is not None:
            yield from _followed(record, event, change, done, going)


def _followed(
    record: Record, event: Event, change: Change, done: _Done, going: dict[str, int]
) -> Iterator[Violation]:
    path, to = change.path, change.after.status
    if to is StepStatus.COMPENSATING:
        yield from _begun(record, path, done, going)
        going[path] = done.drop(path) or 0
        done.undone.add(path)
    elif change.before.status is StepStatus.COMPENSATING:
        seq = going.pop(path, 0)
        if to is StepStatus.FAILED:
            done.take(path, seq)
    elif to is StepStatus.SUCCESS:
        done.succeed(path, event)
    elif to is StepStatus.PENDING:
        done.drop(path)
        done.undone.discard(path)


def _begun(record: Record, path: str, done: _Done, going: dict[str, int]) -> Iterator[Violation]:
    seq = done.at.get(path, done.late.get(path))
    if seq is None:
        yield record.broken(6, "it is undone and had not succeeded", path)
        return
    if going:
        yield record.broken(6, f"it is undone while {next(iter(going))} is", path)
    latest = done.latest()
    if latest is not None and latest[0] > seq:
        yield record.broken(6, f"it is undone before {latest[1]}, which had completed after it", path)


COMPENSATION: tuple[Check, ...] = (compensated_in_reverse,)
