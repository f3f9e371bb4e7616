"""The check of invariants, after every test that runs work and by `orchestrator fsck` on a live database.

Source: spec "engine", Invariants; spec "reliability" §5. A run that goes on is read as one moment shows it.
"""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy.orm import Session

from models.errors import NotFoundError
from models.queries import invariants
from models.queries.dialect import as_id
from models.queries.invariants import RunRows
from orchestrator.services.deps import Deps
from orchestrator.services.fsck_branches import BRANCHES
from orchestrator.services.fsck_compensation import COMPENSATION
from orchestrator.services.fsck_costs import COSTS
from orchestrator.services.fsck_history import HISTORY
from orchestrator.services.fsck_inputs import INPUTS
from orchestrator.services.fsck_people import PEOPLE
from orchestrator.services.fsck_rebuilt import REBUILT
from orchestrator.services.fsck_record import Check, Record, Violation
from orchestrator.services.fsck_rows import ROWS
from orchestrator.services.fsck_webhooks import undelivered

CHECKS: tuple[Check, ...] = (*ROWS, *HISTORY, *COMPENSATION, *COSTS, *INPUTS, *BRANCHES, *REBUILT, *PEOPLE)
_BATCH = 200


def check(deps: Deps, run_id: str) -> list[Violation]:
    """Every broken invariant of a run. Raises NotFoundError."""
    with deps.db.read() as session:
        invariants.freeze(session)
        rows = invariants.load(session, run_id) if as_id(run_id) else None
        if rows is None:
            raise NotFoundError(f"there is no run {run_id}; `orchestrator runs` lists those that there are")
        return [*_unguarded(session), *_broken(deps, session, rows)]


def check_all(deps: Deps, since: datetime | None = None) -> Iterator[Violation]:
    """Every broken invariant of the database and of each run created at `since` or later.

    Runs are read one by one, each as one moment shows it; one that is deleted meanwhile is passed over.
    """
    with deps.db.read() as session:
        found = [*_unguarded(session), *undelivered(session)]
    yield from found
    after: str | None = None
    while True:
        with deps.db.read() as session:
            batch = invariants.run_ids(session, after, since, _BATCH)
        for run_id in batch:
            with deps.db.read() as session:
                invariants.freeze(session)
                rows = invariants.load(session, run_id)
                found = [] if rows is None else list(_broken(deps, session, rows))
            yield from found
        if not batch:
            return
        after = batch[-1]


def _unguarded(session: Session) -> Iterator[Violation]:
    """7: the triggers that keep events are there and hold."""
    for name in sorted(invariants.expected_guards(session) - invariants.guards(session)):
        yield Violation(invariant=7, run_id=None, message=f"trigger {name} is gone or switched off")


def _broken(deps: Deps, session: Session, rows: RunRows) -> Iterator[Violation]:
    record = Record(
        rows=rows,
        plan=deps.plans.get(session, rows.version.id),
        virtual_now=deps.clock.now(),
        real=deps.clock.real,
    )
    for each in CHECKS:
        yield from each(record)
