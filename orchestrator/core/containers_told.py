"""What a run's events tell of its containers and their branches. Pure; paths stand for numbers.

Source: spec "engine", Checkpoints ("loop and parallel state"); the data of events as containers write it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.core.replay import Logged

_ENDS = {"branch.completed": "success", "branch.failed": "failed", "branch.aborted": "aborted"}
_ENDED = ("success", "failed")


@dataclass(slots=True, kw_only=True)
class Opened:
    """A container's counters; `total` None where only a condition tells."""

    total: int | None = None
    opened: int = 0
    ended: int = 0
    failed: int = 0


@dataclass(slots=True, kw_only=True)
class Branched:
    """A branch: its number in the run, its container's path and its place there.

    error: what `collect` failed with; the failures of its steps are told by theirs.
    """

    number: int
    container: str
    position: int
    status: str = "open"
    error: Any = None

    @property
    def prefix(self) -> str:
        """What the paths of its steps begin with, before the slash."""
        return f"{self.container}[{self.position}]"


@dataclass(slots=True)
class Containers:
    """The fold: `take` each event in order. Containers by path, branches by their prefix.

    What speaks of a branch that never started passes: other checks tell of a log with holes.
    """

    opened: dict[str, Opened] = field(default_factory=dict)
    branches: dict[str, Branched] = field(default_factory=dict)
    _of: dict[str, list[Branched]] = field(default_factory=dict)

    def take(self, event: Logged) -> None:
        """Fold one event; types of anything else pass."""
        path, data = event.step, event.data
        if path is None:
            return
        if event.type == "container.opened":
            self.opened[path] = Opened(total=data["total"])
        elif event.type == "container.reset":
            self._forget(path)
        elif event.type == "container.restored":
            self._restore(path, data)
        elif event.type == "branch.started":
            self._start(path, data)
        elif event.type == "branch.reopened" or event.type in _ENDS:
            branch = self.branches.get(f"{path}[{data['position']}]")
            if branch is not None:
                self._move(path, branch, _ENDS.get(event.type, "open"), data)

    def of(self, path: str) -> list[Branched]:
        """A container's branches, those of an opening before too."""
        return self._of.get(path, [])

    def _start(self, path: str, data: Mapping[str, Any]) -> None:
        for place in range(data["count"]):
            branch = Branched(
                number=data["number"] + place, container=path, position=data["position"] + place
            )
            self.branches[branch.prefix] = branch
            self._of.setdefault(path, []).append(branch)
        self.opened.setdefault(path, Opened()).opened += data["count"]

    def _move(self, path: str, branch: Branched, to: str, data: Mapping[str, Any]) -> None:
        """A branch ends, or is opened again; its container counts with it."""
        row = self.opened.setdefault(path, Opened())
        row.opened += branch.status == "stale"
        row.ended += (to in _ENDED) - (branch.status in _ENDED)
        row.failed += (to == "failed") - (branch.status == "failed")
        branch.status, branch.error = to, data.get("error")

    def _forget(self, path: str) -> None:
        self.opened.pop(path, None)
        for branch in self.of(path):
            branch.status, branch.error = "stale", None

    def _restore(self, path: str, data: Mapping[str, Any]) -> None:
        names = ("total", "opened", "ended", "failed")
        self.opened[path] = Opened(**{name: data[name] for name in names})
        statuses = dict(_statuses(data["branches"]))
        for branch in self.of(path):
            branch.status = statuses.get(branch.position, "stale")
            branch.error = data["errors"].get(str(branch.position))


def _statuses(spans: Mapping[str, list[list[int]]]) -> Iterator[tuple[int, str]]:
    """The inverse of `spans`."""
    for status, found in spans.items():
        for first, last in found:
            yield from ((position, status) for position in range(first, last + 1))


def spans(statuses: Mapping[int, str]) -> dict[str, list[list[int]]]:
    """The positions of branches by status, as spans from first to last: `{success: [[0, 9], [12, 12]]}`."""
    found: dict[str, list[list[int]]] = {}
    for position, status in sorted(statuses.items()):
        of_status = found.setdefault(status, [])
        if of_status and of_status[-1][1] == position - 1:
            of_status[-1][1] = position
        else:
            of_status.append([position, position])
    return found
