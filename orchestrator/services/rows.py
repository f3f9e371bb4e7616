"""What a step's names are read from: the rows of its run, within a transaction or one read at a time."""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.orm import Session

from models.database import Database
from models.queries import branches, runs, steps
from models.queries.branches import BranchRow
from models.queries.steps import Stored


class Rows(Protocol):
    """Reads of one run's rows, by the numbers of steps and branches."""

    def stored(self, nos: Collection[int]) -> list[Stored]: ...

    def undone(self, no: int, attempt: int) -> Stored:
        """A step as its compensation sees it, by the attempt that is undone."""
        ...

    def variables(self) -> Mapping[str, Any]: ...

    def given(self, no: int) -> tuple[str | None, Any]:
        """What rebuilds a step's input: its `live_in`, and the resolved mapping of its attempt."""
        ...

    def total(self, no: int) -> int | None:
        """How many branches a container will have."""
        ...

    def item(self, no: int, position: int) -> tuple[bool, Any]:
        """The item of a container's branch, and whether it has items."""
        ...

    def branch(self, number: int) -> BranchRow: ...

    def branch_at(self, no: int, position: int) -> BranchRow | None: ...

    def branches(self, no: int) -> list[BranchRow]: ...


@dataclass(frozen=True, slots=True)
class StoredRows:
    """The rows of a run; `begin` gives the session of each read."""

    run_id: str
    begin: Callable[[], AbstractContextManager[Session]]

    def stored(self, nos: Collection[int]) -> list[Stored]:
        with self.begin() as session:
            return steps.stored(session, self.run_id, nos)

    def undone(self, no: int, attempt: int) -> Stored:
        with self.begin() as session:
            return steps.undone(session, self.run_id, no, attempt)

    def variables(self) -> Mapping[str, Any]:
        with self.begin() as session:
            return runs.variables(session, self.run_id)

    def given(self, no: int) -> tuple[str | None, Any]:
        with self.begin() as session:
            return steps.given(session, self.run_id, no)

    def total(self, no: int) -> int | None:
        with self.begin() as session:
            row = branches.container(session, self.run_id, no)
        return None if row is None else row.total

    def item(self, no: int, position: int) -> tuple[bool, Any]:
        with self.begin() as session:
            return branches.item(session, self.run_id, no, position)

    def branch(self, number: int) -> BranchRow:
        with self.begin() as session:
            return branches.get(session, self.run_id, number)

    def branch_at(self, no: int, position: int) -> BranchRow | None:
        with self.begin() as session:
            return branches.at(session, self.run_id, no, position)

    def branches(self, no: int) -> list[BranchRow]:
        with self.begin() as session:
            return branches.of(session, self.run_id, no)


def within(session: Session, run_id: str) -> StoredRows:
    """Rows read within a transaction."""
    return StoredRows(run_id, lambda: nullcontext(session))


def glanced(db: Database, run_id: str) -> StoredRows:
    """Rows read outside of any transaction."""
    return StoredRows(run_id, db.glance)
