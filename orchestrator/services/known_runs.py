"""What a process keeps of runs so that a step costs no question."""

import threading
from collections import OrderedDict

from models.database import Database
from models.queries import runs
from models.queries.runs import RunInfo


class KnownRuns:
    """What never changes of the runs that this process worked on last."""

    def __init__(self, db: Database, size: int = 1_024) -> None:
        self._db = db
        self._size = size
        self._rows: OrderedDict[str, RunInfo] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, run_id: str) -> RunInfo | None:
        """A run's fixed facts, read when it was not seen before; None when there is no such run."""
        with self._lock:
            found = self._rows.get(run_id)
        if found is None:
            with self._db.glance() as session:
                found = runs.info(session, run_id)
            if found is not None:
                with self._lock:
                    self._rows[run_id] = found
                    while len(self._rows) > self._size:
                        self._rows.popitem(last=False)
        return found
