"""What bringing a run to an earlier state reads and writes beside the transitions. The caller holds the run's lock.

What containers had is looked up as events up to a number saw it: in what was kept when it was taken back since,
or else in the rows.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, null, select, text, tuple_, update
from sqlalchemy.orm import Session

from models.base import dump_json
from models.branch import Branch, Container, ContainerItems, PastItems, PastResult
from models.event import Event
from models.run import Run, RunData
from models.step import Attempt, Step

_AT_ONCE = 500


def log(session: Session, run_id: str, upto: int | None = None) -> Sequence[Event]:
    """A run's events in order, up to a number where it is given."""
    query = select(Event).where(Event.run_id == run_id).order_by(Event.seq)
    return session.scalars(query if upto is None else query.where(Event.seq <= upto)).all()


def told(session: Session, run_id: str, types: Collection[str]) -> Sequence[Event]:
    """A run's events of some types, in order."""
    query = select(Event).where(Event.run_id == run_id, Event.type.in_(sorted(types)))
    return session.scalars(query.order_by(Event.seq)).all()


def outputs(
    session: Session, run_id: str, attempts: Collection[tuple[int, int]]
) -> dict[tuple[int, int], Any]:
    """The outputs of attempts, by step's number and their own, of those that have one of their own."""
    found: dict[tuple[int, int], Any] = {}
    wanted = sorted(attempts)
    for at in range(0, len(wanted), _AT_ONCE):
        some = tuple_(Attempt.no, Attempt.number).in_(wanted[at : at + _AT_ONCE])
        query = select(Attempt.no, Attempt.number, Attempt.output).where(Attempt.run_id == run_id, some)
        found.update(((row.no, row.number), row.output) for row in session.execute(query))
    return found


def set_variables(session: Session, run_id: str, variables: Mapping[str, Any]) -> None:
    """Write all of a run's variables."""
    session.execute(update(RunData).where(RunData.run_id == run_id).values(variables=dict(variables)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The counters of a step that has not begun."""

    no: int
    undecided: int
    live: int
    live_in: str | None


def set_counters(session: Session, run_id: str, rows: Iterable[Counted]) -> None:
    """Write counters of pending steps."""
    for row in rows:
        own = update(Step).where(Step.run_id == run_id, Step.no == row.no, Step.status == "pending")
        session.execute(own.values(undecided=row.undecided, live=row.live, live_in=row.live_in))


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """An attempt that counts again, as number `to` of the same step. parked: it waits, and has no outcome."""

    no: int
    number: int
    to: int
    parked: bool


_COPY = """
INSERT INTO attempt (run_id, no, number, status, worker, claimed_at, finished_at, output, passed, resolved,
  input_digest, error, agent, model, cost_microcents, reserved_microcents)
SELECT {target}, a.no, c.target, CASE WHEN c.parked = 1 THEN 'waiting' ELSE a.status END, NULL, {now},
  CASE WHEN c.parked = 0 THEN {now} END, CASE WHEN c.parked = 0 THEN a.output END,
  CASE WHEN c.parked = 0 THEN a.passed END, a.resolved, CASE WHEN {digests} THEN a.input_digest END,
  CASE WHEN c.parked = 0 THEN a.error END, a.agent, a.model, 0, 0
FROM {rows} JOIN attempt a ON a.run_id = {source} AND a.no = c.no AND a.number = c.number
"""
_COPY_POSTGRESQL = _COPY.format(
    target="CAST(:target AS uuid)",
    source="CAST(:source AS uuid)",
    now="clock_timestamp()",
    digests=":digests",
    rows="json_to_recordset(CAST(:rows AS json)) AS c(no bigint, number int, target int, parked int)",
)
_COPY_SQLITE = _COPY.format(
    target=":target",
    source=":source",
    now="db_now()",
    digests=":digests",
    rows="(SELECT value ->> 'no' AS no, value ->> 'number' AS number, value ->> 'target' AS target,"
    " value ->> 'parked' AS parked FROM json_each(:rows)) AS c",
)


def copy_attempts(
    session: Session, source: str, target: str, copied: Iterable[Copied], *, digests: bool
) -> None:
    """Copy attempts from a run into the same or another one, at no cost; `digests`: with the hashes of inputs."""
    rows = [{"no": c.no, "number": c.number, "target": c.to, "parked": int(c.parked)} for c in copied]
    sqlite = session.get_bind().dialect.name == "sqlite"
    given = {"source": source, "target": target, "rows": dump_json(rows), "digests": digests}
    session.execute(text(_COPY_SQLITE if sqlite else _COPY_POSTGRESQL), given)


def items(session: Session, run_id: str, no: int, seq: int) -> list[tuple[int, Any]]:
    """(first, items) of a container as events up to `seq` saw it."""
    past = (
        select(PastItems.until)
        .where(PastItems.run_id == run_id, PastItems.no == no, PastItems.until >= seq)
        .order_by(PastItems.until)
        .limit(1)
    )
    until = session.execute(past).scalar_one_or_none()
    if until is not None:
        then = (PastItems.run_id == run_id, PastItems.no == no, PastItems.until == until)
        rows = session.execute(select(PastItems.first, PastItems.items).where(*then))
    else:
        now = (ContainerItems.run_id == run_id, ContainerItems.no == no)
        rows = session.execute(select(ContainerItems.first, ContainerItems.items).where(*now))
    return sorted(((first, some) for first, some in rows), key=lambda row: row[0])


def results(session: Session, run_id: str, numbers: Collection[int], seq: int) -> dict[int, Any]:
    """What `collect` gave for branches, by number, as events up to `seq` saw it; those without are left out."""
    found: dict[int, Any] = {}
    for some in _some(numbers):
        now = select(Branch.number, Branch.result).where(Branch.run_id == run_id, Branch.number.in_(some))
        found.update({number: result for number, result in session.execute(now) if result is not None})
        past = (
            select(PastResult.number, PastResult.result)
            .where(PastResult.run_id == run_id, PastResult.number.in_(some), PastResult.until >= seq)
            .order_by(PastResult.until.desc())
        )
        found.update((number, result) for number, result in session.execute(past))
    return found


def put_container(
    session: Session, run_id: str, no: int, counters: Mapping[str, Any], items: Sequence[tuple[int, Any]]
) -> None:
    """Write a container's counters and items in the place of those that it has; its branches become stale."""
    for table in (Container, ContainerItems):
        session.execute(delete(table).where(table.run_id == run_id, table.no == no))
    session.execute(insert(Container).values(run_id=run_id, no=no, **counters))
    if items:
        rows = [{"run_id": run_id, "no": no, "first": first, "items": some} for first, some in items]
        session.execute(insert(ContainerItems), rows)
    mine = update(Branch).where(Branch.run_id == run_id, Branch.container == no)
    session.execute(mine.values(status="stale", error=null(), result=null()))


def put_branches(session: Session, run_id: str, status: str, numbers: Collection[int]) -> None:
    """Write the status of branches."""
    for some in _some(numbers):
        mine = update(Branch).where(Branch.run_id == run_id, Branch.number.in_(some))
        session.execute(mine.values(status=status))


def put_branch(session: Session, run_id: str, number: int, error: Any, result: Any) -> None:
    """Write what became of a branch."""
    mine = update(Branch).where(Branch.run_id == run_id, Branch.number == number)
    session.execute(mine.values(error=error, result=result))


def open_steps(session: Session, run_id: str) -> int:
    """How many steps of a run are not terminal, as it counts them."""
    return int(session.execute(select(Run.open_steps).where(Run.id == run_id)).scalar_one())


def _some(nos: Collection[int]) -> Iterator[list[int]]:
    wanted = sorted(nos)
    for at in range(0, len(wanted), _AT_ONCE):
        yield wanted[at : at + _AT_ONCE]
