"""Which steps a worker's death hits: none is to be hit more than twice, three losses in a row are poison."""

import socket
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import select

from models.database import OUTAGES, Database
from models.step import Attempt, Step

MOST_HITS = 2
Victim = tuple[str, int]


@dataclass(slots=True)
class Victims:
    """Counts the hits of each step, by (run, number)."""

    database: Database
    hits: Counter[Victim] = field(default_factory=Counter)

    def may_hit(self, pids: Collection[int]) -> bool:
        """Whether no step that these workers do was hit twice; then they all are hit once more."""
        try:
            found = self._running(pids)
        except OUTAGES:
            return False
        if any(max(self.hits[victim], losses) >= MOST_HITS for victim, losses in found.items()):
            return False
        self.hits.update(found.keys())
        return True

    def _running(self, pids: Collection[int]) -> dict[Victim, int]:
        """The steps that run there, with the losses they had."""
        workers = [worker(pid) for pid in pids]
        same = (Attempt.run_id == Step.run_id) & (Attempt.no == Step.no) & (Attempt.number == Step.attempt)
        rows = select(Step.run_id, Step.no, Step.losses).join(Attempt, same)
        with self.database.read() as session:
            found = session.execute(rows.where(Step.status == "running", Attempt.worker.in_(workers)))
            return {(run_id, no): losses for run_id, no, losses in found}


def worker(pid: int) -> str:
    """A process's name in attempts (orchestrator/services/deps.py)."""
    return f"{socket.gethostname()}:{pid}"
