"""Beat's scheduler: an entry for each sweep, and one message for all that are due at the same moment."""

from typing import Any

import structlog
from celery.beat import PersistentScheduler

from tasks.publishing import Outgoing, publish_many

_log = structlog.get_logger(__name__)
SWEEP, SWEEPS = "orchestrator.sweep.", "orchestrator.sweeps"


class Scheduler(PersistentScheduler):  # type: ignore[misc]
    """Gathers the sweeps of a tick, and sends any other entry as Celery does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._gathered: list[Any] = []
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Seconds until the next call; 0 while more is due."""
        wait = float(super().tick(*args, **kwargs))
        if wait > 0 and self._gathered:
            self._send()
        return wait

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:
        if not entry.task.startswith(SWEEP):
            return super().apply_async(entry, producer=producer, advance=advance, **kwargs)
        self._gathered.append(self.reserve(entry) if advance else entry)
        return None

    def schedules_equal(self, old_schedules: Any, new_schedules: Any) -> bool:
        """They come from the settings and stay as they are; Celery would compare all entries for each that is due."""
        return old_schedules is not None and new_schedules is not None

    def _send(self) -> None:
        """What cannot be published is left out: the next tick comes soon, and workers sweep by themselves."""
        gathered, self._gathered = self._gathered, []
        names = [entry.task.removeprefix(SWEEP) for entry in gathered]
        after = min(entry.options["expires"] for entry in gathered)
        try:
            publish_many(self.app, [Outgoing(task=SWEEPS, args=(names,), queue="sweeps", expires=after)])
        except Exception as error:
            _log.warning("sweeps not published", sweeps=len(names), error=str(error))
