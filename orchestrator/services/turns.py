"""Taking turns at a run within a process, and doing in one turn what several threads wait to do.

Threads that want the same run's row wait here rather than in the database's lock manager, where each hand-over
costs two more process switches and a connection each (docs/decisions/0019-turns.md). What they want meanwhile is
committed together by the next of them, as databases commit the transactions of a group
(docs/decisions/0048-group-commit.md).
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")
STRIPES = 256
TOGETHER = 64


@dataclass(slots=True)
class _Call:
    """What one thread wants, and what came of it."""

    wanted: Any
    result: Any = None
    error: BaseException | None = None
    done: bool = False


class Turns:
    """A lock for each run, of a fixed number: two runs may share one."""

    def __init__(self) -> None:
        self._locks = [threading.Lock() for _ in range(STRIPES)]
        self._calls: dict[tuple[str, str], deque[_Call]] = {}
        self._lock = threading.Lock()

    def of(self, run_id: str) -> threading.Lock:
        """The lock of a run. Never hold two."""
        return self._locks[hash(run_id) % STRIPES]

    def together(self, run_id: str, kind: str, wanted: T, work: Callable[[Sequence[T]], Sequence[R]]) -> R:
        """In the run's turn, `work` on what this thread wants and what others want of the same kind by then.

        `work` gives a result for each, in order; what it raises is raised in each of the threads. It must not ask for
        a turn itself.
        """
        mine, key = _Call(wanted), (run_id, kind)
        with self._lock:
            self._calls.setdefault(key, deque()).append(mine)
        with self.of(run_id):
            while not mine.done:
                self._next(key, work)
        if mine.error is not None:
            raise mine.error
        return cast("R", mine.result)

    def waiting(self, run_id: str) -> int:
        """How many threads wait for what they want to be done together."""
        with self._lock:
            return sum(len(calls) for (run, _), calls in self._calls.items() if run == run_id)

    def _next(self, key: tuple[str, str], work: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        with self._lock:
            waiting = self._calls[key]
            calls = [waiting.popleft() for _ in range(min(len(waiting), TOGETHER))]
            if not waiting:
                del self._calls[key]
        try:
            for call, result in zip(calls, work([call.wanted for call in calls]), strict=True):
                call.result = result
        except BaseException as error:
            for call in calls:
                call.error = error
        finally:
            for call in calls:
                call.done = True
