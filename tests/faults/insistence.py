"""A client that does not give up: whatever the API suffers, the same write is sent until it is answered."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from orchestrator.client import ConnectionFailed, RateLimited, ServerError

T = TypeVar("T")
_PAUSE = 0.3


@dataclass(slots=True)
class Insistence:
    """`seen` counts what came in the place of answers: no connection, statuses of 500 and more."""

    ended: threading.Event = field(default_factory=threading.Event)
    seen: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def on(self, call: Callable[[], T]) -> T:
        """The answer. Raises what went wrong last once `ended` is set, and every refusal."""
        while True:
            try:
                return call()
            except (ConnectionFailed, RateLimited, ServerError) as error:
                self._note(error)
                if self.ended.is_set():
                    raise
                time.sleep(_PAUSE)

    def _note(self, error: ConnectionFailed | RateLimited | ServerError) -> None:
        name = "no answer" if isinstance(error, ConnectionFailed) else str(error.status)
        with self._lock:
            self.seen[name] += 1
