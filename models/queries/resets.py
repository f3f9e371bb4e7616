"""What an operator's act on steps reads and writes beside the transitions. The caller holds the run's lock."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, null, select, update
from sqlalchemy.orm import Session

from models.branch import Branch, Container, ContainerItems, PastItems, PastResult
from models.event import Event
from models.run import Run, RunData
from models.step import Attempt, Step

_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A step as a reset reads it."""

    no: int
    path: str
    status: str
    attempt: int
    out_edges: str | None
    undecided: int
    live: int
    live_in: str | None
    idempotency_key: str | None


def rows(session: Session, run_id: str, first: int, count: int) -> list[Row]:
    """The `count` steps from number `first` on: those of one scope stand together."""
    columns = (getattr(Step, name) for name in Row.__slots__)
    query = select(*columns).where(Step.run_id == run_id, Step.no >= first, Step.no < first + count)
    return [Row(**row._mapping) for row in session.execute(query.order_by(Step.no))]


def number(session: Session, run_id: str, path: str) -> int | None:
    """A step's number, None when the run has no such step."""
    found = select(Step.no).where(Step.run_id == run_id, Step.path == path)
    return session.execute(found).scalar_one_or_none()


def reopen(session: Session, run_id: str, timeout_at: datetime | None) -> None:
    """Forget how a run ended; its timeout begins anew."""
    values = {"stopping": null(), "timeout_at": timeout_at}
    session.execute(update(Run).where(Run.id == run_id).values(**values))
    session.execute(update(RunData).where(RunData.run_id == run_id).values(outputs=null()))


def set_error(session: Session, run_id: str, error: Mapping[str, Any] | None) -> None:
    """Why a run will end as failed, if it goes on like this."""
    session.execute(
        update(Run).where(Run.id == run_id).values(error=null() if error is None else dict(error))
    )


def set_branch_error(session: Session, run_id: str, number: int, error: Mapping[str, Any] | None) -> None:
    """Why a branch will end as failed, if it goes on like this."""
    own = update(Branch).where(Branch.run_id == run_id, Branch.number == number)
    session.execute(own.values(error=null() if error is None else dict(error)))


def attempt_error(session: Session, run_id: str, no: int, attempt: int) -> Any:
    """Why an attempt failed: {code, message, transient, details}."""
    own = (Attempt.run_id == run_id, Attempt.no == no, Attempt.number == attempt)
    return session.execute(select(Attempt.error).where(*own)).scalar_one_or_none()


def failed_at(session: Session, run_id: str, paths: Collection[str]) -> dict[str, int]:
    """The number of the event by which each of these steps failed last."""
    if not paths:
        return {}
    told = select(Event.step, func.max(Event.seq)).where(
        Event.run_id == run_id, Event.type == "step.failed", Event.step.in_(sorted(paths))
    )
    return {str(step): int(seq) for step, seq in session.execute(told.group_by(Event.step))}


def reruns(session: Session, run_id: str) -> int:
    """How often steps of a run were done anew, by its log."""
    told = select(Event.data).where(Event.run_id == run_id, Event.type == "step.reset")
    return max((int(data.get("rerun", 0)) for data in session.scalars(told)), default=0)


def begin_anew(session: Session, run_id: str, keys: Mapping[int, str | None]) -> None:
    """Give steps that were reset the keys of their next attempts, by number; nothing has started yet."""
    for no, key in sorted(keys.items()):
        own = update(Step).where(Step.run_id == run_id, Step.no == no)
        session.execute(own.values(idempotency_key=key, started_at=None))


def branches_of(
    session: Session, run_id: str, containers: Collection[int]
) -> Sequence[tuple[int, int, int, int]]:
    """(number, container, position, open steps) of every branch of containers, by their steps' numbers."""
    columns = (Branch.number, Branch.container, Branch.position, Branch.open_steps)
    found: list[tuple[int, int, int, int]] = []
    for some in _some(containers):
        query = select(*columns).where(Branch.run_id == run_id, Branch.container.in_(some))
        found += [(row.number, row.container, row.position, row.open_steps) for row in session.execute(query)]
    return sorted(found)


def forget(session: Session, run_id: str, containers: Collection[int]) -> None:
    """Containers are opened anew, their branches to be used again: rows of branches and steps stay."""
    keep_past(session, run_id, containers)
    for some in _some(containers):
        own = (Branch.run_id == run_id, Branch.container.in_(some))
        session.execute(
            update(Branch).where(*own).values(status="stale", error=null(), result=null())
        )
        for table in (Container, ContainerItems):
            session.execute(delete(table).where(table.run_id == run_id, table.no.in_(some)))


def opened(session: Session, run_id: str, nos: Collection[int]) -> list[tuple[int, str]]:
    """(number, path) of the containers among these steps that have been opened."""
    found: list[tuple[int, str]] = []
    for some in _some(nos):
        query = (
            select(Container.no, Step.path)
            .join(Step, (Step.run_id == Container.run_id) & (Step.no == Container.no))
            .where(Container.run_id == run_id, Container.no.in_(some))
        )
        found += [(row.no, row.path) for row in session.execute(query.order_by(Container.no))]
    return found


def all_opened(session: Session, run_id: str) -> list[tuple[int, str]]:
    """(number, path) of all containers of a run that have been opened."""
    query = (
        select(Container.no, Step.path)
        .join(Step, (Step.run_id == Container.run_id) & (Step.no == Container.no))
        .where(Container.run_id == run_id)
    )
    return [(row.no, row.path) for row in session.execute(query.order_by(Container.no))]


def keep_past(session: Session, run_id: str, containers: Collection[int]) -> None:
    """Keep the items and results of containers, and of nothing inside them, before they are taken back."""
    until = select(Run.seq).where(Run.id == run_id).scalar_subquery()
    for some in _some(containers):
        items = select(
            ContainerItems.run_id, ContainerItems.no, until, ContainerItems.first, ContainerItems.items
        ).where(ContainerItems.run_id == run_id, ContainerItems.no.in_(some))
        names = ["run_id", "no", "until", "first", "items"]
        session.execute(insert(PastItems).from_select(names, items))
        results = select(Branch.run_id, Branch.number, until, Branch.result).where(
            Branch.run_id == run_id, Branch.container.in_(some), Branch.result.is_not(None)
        )
        session.execute(insert(PastResult).from_select(["run_id", "number", "until", "result"], results))


def keep_result(session: Session, run_id: str, number: int) -> None:
    """Keep what a branch gave before it is opened again."""
    until = select(Run.seq).where(Run.id == run_id).scalar_subquery()
    result = select(Branch.run_id, Branch.number, until, Branch.result).where(
        Branch.run_id == run_id, Branch.number == number, Branch.result.is_not(None)
    )
    session.execute(insert(PastResult).from_select(["run_id", "number", "until", "result"], result))


def stale(session: Session, run_id: str, no: int, first: int, count: int) -> list[tuple[int, int]]:
    """(position, number) of the branches of a container that can be used again, from position `first` on."""
    query = select(Branch.position, Branch.number).where(
        Branch.run_id == run_id,
        Branch.container == no,
        Branch.position >= first,
        Branch.position < first + count,
        Branch.status == "stale",
    )
    return [(row.position, row.number) for row in session.execute(query.order_by(Branch.position))]


def stale_among(session: Session, run_id: str, numbers: Collection[int]) -> set[int]:
    """Those of these branches that their container, opened anew, does not use."""
    found: set[int] = set()
    for some in _some(numbers):
        own = (Branch.run_id == run_id, Branch.number.in_(some), Branch.status == "stale")
        found |= set(session.scalars(select(Branch.number).where(*own)))
    return found


def _some(nos: Collection[int]) -> Iterator[list[int]]:
    wanted = sorted(nos)
    for at in range(0, len(wanted), _AT_ONCE):
        yield wanted[at : at + _AT_ONCE]
