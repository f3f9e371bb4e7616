"""What the database holds after a schedule, read once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, select

from models.database import Database
from models.event import Event
from models.outbox import Outbox
from models.run import Run, RunData
from models.states import RUN_TERMINAL
from models.step import Attempt, Step
from tests.faults.load import LABEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """runs: all of them. jobs: the runs that were triggered, by their label. attempts: (run, no, number) of all."""

    runs: Sequence[Run]
    jobs: dict[int, list[str]]
    attempts: Sequence[Row[Any]]
    steps: int
    events: Counter[str]
    poisoned: frozenset[str]


def read(database: Database) -> Books:
    with database.read() as session:
        runs = session.scalars(select(Run)).all()
        labels = session.execute(select(RunData.run_id, RunData.labels)).all()
        attempts = session.execute(
            select(
                Attempt.run_id,
                Attempt.no,
                Attempt.number,
                Attempt.status,
                Attempt.worker,
                Attempt.claimed_at,
            ).order_by(Attempt.run_id, Attempt.no, Attempt.number)
        ).all()
        steps = session.execute(select(func.count()).select_from(Step)).scalar_one()
        counted = session.execute(select(Event.type, func.count()).group_by(Event.type)).all()
    jobs: dict[int, list[str]] = {}
    for run_id, given in labels:
        if LABEL in (given or {}):
            jobs.setdefault(int(given[LABEL]), []).append(run_id)
    poisoned = frozenset(run.id for run in runs if (run.error or {}).get("code") == "WORKER_LOST")
    events = Counter(dict(map(tuple, counted)))
    return Books(runs=runs, jobs=jobs, attempts=attempts, steps=steps, events=events, poisoned=poisoned)


def is_over(database: Database, jobs: int) -> bool:
    """Whether all jobs are there, all runs have ended, and nothing is left to be told or stopped."""
    with database.read() as session:
        rows = session.execute(select(Run.parent_run_id, Run.status)).all()
        left = session.execute(select(func.count()).select_from(Outbox)).scalar_one()
    tops = sum(parent is None for parent, _ in rows)
    return not left and tops >= jobs and all(status in RUN_TERMINAL for _, status in rows)
