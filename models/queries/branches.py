"""Containers and their branches. The caller holds the lock of the run's row, so that what is read here stays."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import LargeBinary, Text, cast, func, insert, select, text, type_coerce, update
from sqlalchemy.orm import Session

from models.base import dump_json
from models.branch import Branch, Container, ContainerItems
from models.run import Run
from models.step import Attempt, Step

CHUNK = 64
_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchRow:
    """A branch as it is stored; `error` and `result` are JSON."""

    number: int
    container: int
    position: int
    status: str
    error: Any = None
    result: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRow:
    """A container's counters as they are stored."""

    no: int
    total: int | None
    opened: int
    ended: int
    failed: int


_CONTAINER = (Container.no, Container.total, Container.opened, Container.ended, Container.failed)
_BRANCH = (Branch.number, Branch.container, Branch.position, Branch.status, Branch.error, Branch.result)


def container(session: Session, run_id: str, no: int) -> ContainerRow | None:
    """A container's row, None when it was never opened."""
    row = session.execute(
        select(*_CONTAINER).where(Container.run_id == run_id, Container.no == no)
    ).one_or_none()
    return None if row is None else ContainerRow(**row._mapping)


def open_container(
    session: Session, run_id: str, no: int, total: int | None, items: Sequence[Any] | None
) -> ContainerRow:
    """Insert a container without branches, and its items."""
    session.execute(
        insert(Container).values(run_id=run_id, no=no, total=total, opened=0, ended=0, failed=0)
    )
    if items:
        rows = [
            {"run_id": run_id, "no": no, "first": first, "items": list(items[first : first + CHUNK])}
            for first in range(0, len(items), CHUNK)
        ]
        session.execute(insert(ContainerItems), rows)
    return ContainerRow(no=no, total=total, opened=0, ended=0, failed=0)


def count(
    session: Session, run_id: str, no: int, *, opened: int = 0, ended: int = 0, failed: int = 0
) -> ContainerRow:
    """Add to a container's counters."""
    row = session.execute(
        update(Container)
        .where(Container.run_id == run_id, Container.no == no)
        .values(
            opened=Container.opened + opened, ended=Container.ended + ended, failed=Container.failed + failed
        )
        .returning(*_CONTAINER)
    ).one()
    return ContainerRow(**row._mapping)


def item(session: Session, run_id: str, no: int, position: int) -> tuple[bool, Any]:
    """The item of a branch, and whether its container has items."""
    first = position - position % CHUNK
    row = session.execute(
        select(ContainerItems.items).where(
            ContainerItems.run_id == run_id, ContainerItems.no == no, ContainerItems.first == first
        )
    ).one_or_none()
    if row is None:
        return False, None
    left = row[0][position - first :]
    return True, left[0] if left else None  # a branch of an opening before may have had one more


def next_number(session: Session, run_id: str) -> int:
    """The number that the run's next branch gets."""
    last = session.execute(select(func.max(Branch.number)).where(Branch.run_id == run_id)).scalar_one()
    return 1 if last is None else int(last) + 1


def numbers(session: Session, run_id: str) -> Sequence[int]:
    """The numbers of all branches of a run."""
    return session.scalars(select(Branch.number).where(Branch.run_id == run_id)).all()


def add(session: Session, run_id: str, no: int, numbers: range, first: int, steps: int) -> None:
    """Insert branches of a container, from position `first` on, with `steps` open steps each.

    The run counts their steps too; the rows of the steps are the caller's to insert.
    """
    rows = [
        {
            "run_id": run_id,
            "number": number,
            "container": no,
            "position": first + place,
            "status": "open",
            "open_steps": steps,
        }
        for place, number in enumerate(numbers)
    ]
    session.execute(insert(Branch), rows)
    session.execute(
        update(Run).where(Run.id == run_id).values(open_steps=Run.open_steps + steps * len(numbers))
    )


_COUNT_STEPS = """
UPDATE branch SET open_steps = branch.open_steps + {more} FROM {rows}
WHERE branch.run_id = {run} AND branch.number = {number} RETURNING branch.number, branch.open_steps
"""
_COUNT_STEPS_POSTGRESQL = _COUNT_STEPS.format(
    more="d.more",
    rows="json_to_recordset(CAST(:rows AS json)) AS d(number int, more int)",
    run="CAST(:run AS uuid)",
    number="d.number",
)
_COUNT_STEPS_SQLITE = _COUNT_STEPS.format(
    more="(d.value ->> 'more')", rows="json_each(:rows) AS d", run=":run", number="d.value ->> 'number'"
)


def count_steps(session: Session, run_id: str, opened: Mapping[int, int]) -> list[int]:
    """Add to the open steps of branches, by number; those that have none left."""
    if len(opened) == 1:
        # By far the most frequent; found by its key whatever the planner makes of the other statement.
        ((number, more),) = opened.items()
        left = session.execute(
            update(Branch)
            .where(Branch.run_id == run_id, Branch.number == number)
            .values(open_steps=Branch.open_steps + more)
            .returning(Branch.open_steps)
        ).scalar_one()
        return [number] if left == 0 else []
    sqlite = session.get_bind().dialect.name == "sqlite"
    rows = dump_json([{"number": number, "more": more} for number, more in sorted(opened.items())])
    found = session.execute(
        text(_COUNT_STEPS_SQLITE if sqlite else _COUNT_STEPS_POSTGRESQL), {"run": run_id, "rows": rows}
    )
    return sorted(number for number, left in found if left == 0)


def get(session: Session, run_id: str, number: int) -> BranchRow:
    """A branch's row."""
    row = session.execute(select(*_BRANCH).where(Branch.run_id == run_id, Branch.number == number)).one()
    return BranchRow(**row._mapping)


def of(session: Session, run_id: str, no: int, statuses: Collection[str] = ()) -> list[BranchRow]:
    """A container's branches in order, those of some statuses only where given; none of an opening before."""
    query = select(*_BRANCH).where(Branch.run_id == run_id, Branch.container == no)
    query = query.where(Branch.status.in_(sorted(statuses)) if statuses else Branch.status != "stale")
    return [BranchRow(**row._mapping) for row in session.execute(query.order_by(Branch.position))]


def put_off(session: Session, run_id: str, no: int, most: int) -> tuple[int, list[BranchRow]]:
    """Branches that a container which goes on has still to do again: how many, and the first `most`."""
    rows = session.execute(
        select(*_BRANCH, func.count().over().label("all"))
        .where(Branch.run_id == run_id, Branch.container == no, Branch.status == "aborted")
        .order_by(Branch.position)
        .limit(most)
    ).all()
    found = [dict(row._mapping) for row in rows]
    count = max((row.pop("all") for row in found), default=0)
    return count, [BranchRow(**row) for row in found]


def at(session: Session, run_id: str, no: int, position: int) -> BranchRow | None:
    """The branch of a container at a position."""
    row = session.execute(
        select(*_BRANCH).where(
            Branch.run_id == run_id, Branch.container == no, Branch.position == position
        )
    ).one_or_none()
    return None if row is None else BranchRow(**row._mapping)


def fail(session: Session, run_id: str, number: int, error: Mapping[str, Any]) -> None:
    """Keep a branch's first failure."""
    session.execute(
        update(Branch)
        .where(Branch.run_id == run_id, Branch.number == number, Branch.error.is_(None))
        .values(error=dict(error))
    )


def end(session: Session, run_id: str, number: int, status: str, result: Any = None) -> bool:
    """Close an open branch; False when it was closed before."""
    row = session.execute(
        update(Branch)
        .where(Branch.run_id == run_id, Branch.number == number, Branch.status == "open")
        .values(status=status, result=result)
        .returning(Branch.number)
    ).one_or_none()
    return row is not None


def put_off_all(session: Session, run_id: str, numbers: Collection[int]) -> None:
    """Branches that failed wait for their turn to be done again; why they failed is kept until then."""
    ordered = sorted(numbers)
    for at in range(0, len(ordered), _AT_ONCE):
        own = (Branch.run_id == run_id, Branch.number.in_(ordered[at : at + _AT_ONCE]))
        session.execute(update(Branch).where(*own).values(status="aborted"))


def reopen(session: Session, run_id: str, number: int) -> None:
    """Open a branch again whose steps are reset."""
    session.execute(
        update(Branch)
        .where(Branch.run_id == run_id, Branch.number == number)
        .values(status="open", error=None, result=None)
    )


def result_bytes(session: Session, run_id: str, no: int, size: int, places: Collection[int] | None) -> int:
    """How long the results of a container are, as JSON text; references within references are not followed.

    `places`: the nodes of its body whose outputs they are, None where `collect` gave them; `size` is the plan's.
    """
    of = (Branch.run_id == run_id, Branch.container == no, Branch.status != "stale")
    if places is None:
        return int(session.execute(select(func.sum(_length(session, Branch.result))).where(*of)).scalar() or 0)
    found = 0
    for place in places:
        outputs = (
            select(func.sum(_length(session, Attempt.output)))
            .join(Branch, Attempt.no == Branch.number * size + place)
            .where(*of, Attempt.run_id == run_id, Attempt.status == "success")
        )
        found += int(session.execute(outputs).scalar() or 0)
    return found


def _length(session: Session, column: Any) -> Any:
    """Bytes of a JSON column as it is stored."""
    stored = type_coerce(column, Text)
    if session.get_bind().dialect.name == "sqlite":
        return func.length(cast(stored, LargeBinary))
    return func.octet_length(stored)


def set_due(session: Session, run_id: str, no: int, at: datetime | None) -> None:
    """When a container that waits goes on by itself; it stays where it is meanwhile."""
    session.execute(update(Step).where(Step.run_id == run_id, Step.no == no).values(due_at=at))


def open_steps(session: Session, run_id: str, size: int, numbers: Collection[int]) -> list[int]:
    """The numbers of the steps of branches that are not terminal; `size` is the plan's."""
    found: list[int] = []
    for number in sorted(numbers):
        rows = session.execute(
            select(Step.no).where(
                Step.run_id == run_id,
                Step.no >= number * size,
                Step.no < (number + 1) * size,
                Step.finished_at.is_(None),
            )
        )
        found += [no for (no,) in rows]
    return found

