"""The attempts that this process holds: one thread renews all their leases in one statement.

Source: spec "engine", Leases. A process that cannot renew for one lease gives its attempts up.
"""

import threading
import time
from dataclasses import dataclass, field

import structlog

from models.database import Database
from models.queries import leases
from models.queries.leases import Held

_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class LeaseKeeper:
    """Holds and renews. `hold` gives an event that is set when the attempt is no longer ours."""

    db: Database
    seconds: float
    _held: dict[Held, threading.Event] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None
    _wake: threading.Event = field(default_factory=threading.Event)
    _closed: bool = False

    def hold(self, held: Held) -> threading.Event:
        """Renew this attempt from now on. The event is set when it was fenced, or could not be renewed."""
        given_up = threading.Event()
        with self._lock:
            self._held[held] = given_up
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
                self._thread.start()
        return given_up

    def release(self, *ended: Held) -> None:
        """These attempts have ended."""
        with self._lock:
            for held in ended:
                self._held.pop(held, None)

    def close(self) -> None:
        """Stop renewing."""
        self._closed = True
        self._wake.set()

    def _run(self) -> None:
        renewed = time.monotonic()
        while not self._wake.wait(self.seconds / 3) and not self._closed:
            with self._lock:
                held = dict(self._held)
            if not held:
                renewed = time.monotonic()
                continue
            try:
                with self.db.transaction() as session:
                    kept = leases.renew(session, list(held), self.seconds)
                renewed = time.monotonic()
            except Exception:
                _log.exception("leases could not be renewed", held=len(held))
                kept = set(held) if time.monotonic() - renewed < self.seconds else set()
            self._give_up({key: event for key, event in held.items() if key not in kept})

    def _give_up(self, lost: dict[Held, threading.Event]) -> None:
        with self._lock:  # those that have ended since were not renewed, and are not lost
            lost = {held: given_up for held, given_up in lost.items() if self._held.get(held) is given_up}
        for held, given_up in lost.items():
            if not given_up.is_set():
                _log.warning("attempt given up", run=held.run_id, step=held.no, attempt=held.attempt)
                given_up.set()
