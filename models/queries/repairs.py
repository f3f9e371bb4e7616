"""Writing rows again as a run's events tell them. The caller holds the run's lock; nothing here is a transition."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from models.branch import Branch, Container, ContainerItems
from models.queries.branches import CHUNK
from models.queries.runs import now
from models.run import Run, RunData
from models.step import Step

# Columns that hold a time: `True` stands for the database's now.
_TIMES = ("queued_at", "finished_at", "lease_until")


def put_step(session: Session, run_id: str, no: int, values: Mapping[str, Any], *, there: bool) -> None:
    """Write columns of a step; one that is not there is inserted, and `values` are all that is not null of it."""
    written = {key: now(session) if key in _TIMES and value is True else value for key, value in values.items()}
    if there:
        own = update(Step).where(Step.run_id == run_id, Step.no == no)
        session.execute(own.values(**written))
    else:
        session.execute(insert(Step).values(run_id=run_id, no=no, **written))


def put_branch(session: Session, run_id: str, number: int, values: Mapping[str, Any], *, there: bool) -> None:
    """Write columns of a branch, or insert it."""
    if there:
        own = update(Branch).where(Branch.run_id == run_id, Branch.number == number)
        session.execute(own.values(**values))
    else:
        session.execute(insert(Branch).values(run_id=run_id, number=number, **values))


def put_container(session: Session, run_id: str, no: int, counters: Mapping[str, Any]) -> None:
    """Write a container's counters in the place of those that it has; its items stay."""
    session.execute(delete(Container).where(Container.run_id == run_id, Container.no == no))
    session.execute(insert(Container).values(run_id=run_id, no=no, **counters))


def drop_container(session: Session, run_id: str, no: int) -> None:
    """Delete a container's counters and items."""
    for table in (Container, ContainerItems):
        session.execute(delete(table).where(table.run_id == run_id, table.no == no))


def with_items(session: Session, run_id: str) -> Collection[int]:
    """The containers of a run whose items are stored."""
    query = select(ContainerItems.no).where(ContainerItems.run_id == run_id).distinct()
    return set(session.scalars(query))


def put_items(session: Session, run_id: str, no: int, items: list[Any]) -> None:
    """Store a container's items."""
    rows = [
        {"run_id": run_id, "no": no, "first": first, "items": items[first : first + CHUNK]}
        for first in range(0, len(items), CHUNK)
    ]
    session.execute(insert(ContainerItems), rows)


def put_run(session: Session, run_id: str, values: Mapping[str, Any]) -> None:
    """Write columns of a run's hot row."""
    session.execute(update(Run).where(Run.id == run_id).values(**values))


def put_variables(session: Session, run_id: str, variables: Mapping[str, Any]) -> None:
    """Write all of a run's variables."""
    session.execute(update(RunData).where(RunData.run_id == run_id).values(variables=dict(variables)))
