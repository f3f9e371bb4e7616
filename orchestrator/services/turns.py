"""Taking turns at a run within a process.

Threads that want the same run's row wait here rather than in the database's lock manager, where each hand-over
costs two more process switches and a connection each (docs/decisions/0019-turns.md).
"""

import threading

STRIPES = 256


class Turns:
    """A lock for each run, of a fixed number: two runs may share one."""

    def __init__(self) -> None:
        self._locks = [threading.Lock() for _ in range(STRIPES)]

    def of(self, run_id: str) -> threading.Lock:
        """The lock of a run. Never hold two."""
        return self._locks[hash(run_id) % STRIPES]
