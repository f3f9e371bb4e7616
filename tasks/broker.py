"""Whether the broker answers, asked without waiting for one that does not."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

_log = structlog.get_logger(__name__)
FRESH = 30.0


def connect() -> None:
    """Open and close a connection. Raises whatever the transport raises."""
    from tasks.app import app

    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, timeout=2)


@dataclass(slots=True, kw_only=True)
class Probe:
    """Asks in a thread, one at a time, and waits for it at most `patience` seconds.

    A slower answer counts for the next `FRESH` seconds.
    """

    ask: Callable[[], None] = connect
    patience: float = 0.05
    _asking: threading.Thread | None = None
    _answered: tuple[float, bool] = (float("-inf"), False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self) -> bool:
        with self._lock:
            asking = self._asking
            if asking is None or not asking.is_alive():
                asking = self._asking = threading.Thread(target=self._ask, name="broker-probe", daemon=True)
                asking.start()
        asking.join(self.patience)
        at, answers = self._answered
        return answers and time.monotonic() - at < FRESH

    def _ask(self) -> None:
        try:
            self.ask()
            answers = True
        except Exception as error:
            _log.debug("the broker does not answer", error=str(error))
            answers = False
        self._answered = (time.monotonic(), answers)
