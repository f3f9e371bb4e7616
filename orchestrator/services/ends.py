"""Ends of parked work that this process sees by itself: settled in a few threads.

An end may come before its step is parked; then it is tried again until the step is, for a lease at most. What is
lost here is found by the sweep `due`, which has the gateway asked.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog

from orchestrator.core.effects import Effect
from orchestrator.core.outcome import Failed, Succeeded

_log = structlog.get_logger(__name__)
THREADS = 4
FIRST, LONGEST = 0.05, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """What became of an attempt; `finish` is called before it is written."""

    run_id: str
    no: int
    attempt: int
    outcome: Succeeded | Failed
    finish: Callable[[], None]


Send = Callable[[Sequence[Effect]], None]
Hear = Callable[[End], bool]


@dataclass(slots=True, kw_only=True)
class Ends:
    """One process's. `hear` settles an end, and says False where its step is not parked yet.

    Without it nobody listens, and sweeps make it good. seconds: how long an end waits for its step to be parked.
    """

    seconds: float
    hear: Hear | None = None
    _pool: ThreadPoolExecutor | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    def take(self, end: End) -> None:
        """Settle an end in a thread of this process; never blocks, from any thread."""
        if self.hear is not None:
            self._submit(lambda: self._first(end))

    def close(self) -> None:
        """Take no more."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, job: Callable[[], None]) -> None:
        with self._lock:
            if self._closed:
                return
            if self._pool is None:
                self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="ends")
            self._pool.submit(job)

    def _first(self, end: End) -> None:
        try:
            end.finish()
        except Exception:
            _log.exception("stream not ended", run=end.run_id, step=end.no)
        self._settle(end, FIRST, 0.0)

    def _settle(self, end: End, wait: float, waited: float) -> None:
        try:
            heard = self.hear is None or self.hear(end)
        except Exception:
            _log.exception("end not settled; the sweep makes it good", run=end.run_id, step=end.no)
            return
        if heard or waited > self.seconds:
            return
        later = min(2 * wait, LONGEST)
        again = threading.Timer(wait, self._submit, args=(lambda: self._settle(end, later, waited + wait),))
        again.daemon = True
        again.start()
