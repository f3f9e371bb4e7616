"""What is to be undone of a run: found once, when its compensation begins, then taken from rows.

The caller holds the lock of the run's row.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from models.compensation import Compensation
from models.event import Event
from models.run import Run
from models.step import Step

_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """A step that is to be undone: the attempt whose work it is, and the event that told of its success."""

    no: int
    attempt: int
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A step that has succeeded, with the last event that says so."""

    no: int
    path: str
    attempt: int
    seq: int


def completed(session: Session, run_id: str, size: int, places: Collection[int]) -> list[Completed]:
    """The steps of these nodes that have succeeded and are not undone, in any order; `size` is the plan's.

    Without those that a fork has taken over.
    """
    rows = session.execute(
        select(Step.no, Step.path, Step.attempt, Event.seq, Event.data)
        .join(Event, (Event.run_id == Step.run_id) & (Event.step == Step.path))
        .where(
            Step.run_id == run_id,
            Step.status == "success",
            Step.no % size >= min(places),
            Step.no % size <= max(places),
            Event.run_id == run_id,
            Event.type == "step.completed",
        )
        .order_by(Event.seq)
    )
    wanted = frozenset(places)
    found: dict[int, Completed] = {}
    copied: dict[int, dict[int, int]] = {}
    for row in rows:
        if row.no % size not in wanted:
            continue
        found[row.no] = Completed(no=row.no, path=row.path, attempt=row.attempt, seq=row.seq)
        if "copied" in row.data:
            copied.setdefault(row.no, {})[row.data["attempt"]] = row.data["copied"]
    return [each for no, each in found.items() if not is_taken_over(copied.get(no, {}), each.attempt)]


def is_taken_over(copied: Mapping[int, int], attempt: int) -> bool:
    """Whether the work of an attempt is that of another run, from which a fork has it: that run undoes it.

    copied: by the number of an attempt that is a copy, the number of the one it was made from. A restore copies an
    earlier attempt of the run; a fork, whose attempts begin at 1, takes over none with a lower number than its own.
    """
    while copied.get(attempt, attempt) < attempt:
        attempt = copied[attempt]
    return attempt in copied


def late(session: Session, run_id: str) -> list[tuple[int, str, int]]:
    """(seq, path, attempt) of given-up attempts that have succeeded late and are to be undone, by the log.

    Of those before a step was last reset there are none: what is done anew has another key.
    """
    told = select(Event.seq, Event.data).where(Event.run_id == run_id, Event.type == "step.fenced")
    found = [(row.seq, row.data["step"], row.data["attempt"]) for row in session.execute(told) if row.data.get("undo")]
    if not found:
        return []
    reset = select(Event.step, func.max(Event.seq)).where(
        Event.run_id == run_id, Event.type == "step.reset", Event.step.in_(sorted({path for _, path, _ in found}))
    )
    since = dict(session.execute(reset.group_by(Event.step)).all())
    return [each for each in found if each[0] > since.get(each[1], 0)]


def copies(session: Session, run_id: str, paths: Collection[str]) -> dict[tuple[str, int], int]:
    """The attempts of these steps whose work restores have copied, by path and the number of the copy."""
    told = select(Event.step, Event.data).where(
        Event.run_id == run_id, Event.type == "step.completed", Event.step.in_(sorted(paths))
    )
    found: dict[tuple[str, int], int] = {}
    for path, data in session.execute(told.order_by(Event.seq)):
        if data.get("copied", data["attempt"]) < data["attempt"]:  # not so of what a fork has taken over
            found[path, data["attempt"]] = found.get((path, data["copied"]), data["copied"])
    return found


def known(session: Session, run_id: str) -> set[int]:
    """The numbers of the steps that are to be undone already."""
    return set(session.scalars(select(Compensation.no).where(Compensation.run_id == run_id)))


def add(session: Session, run_id: str, undos: Sequence[Undo]) -> None:
    """These steps are to be undone."""
    rows = [
        {"run_id": run_id, "no": each.no, "attempt": each.attempt, "seq": each.seq, "state": "open"}
        for each in undos
    ]
    if rows:
        session.execute(insert(Compensation), rows)


def again(session: Session, run_id: str) -> None:
    """What failed to be undone is to be tried again."""
    own = (Compensation.run_id == run_id, Compensation.state == "failed")
    session.execute(update(Compensation).where(*own).values(state="open"))


def _first(session: Session, run_id: str, state: str) -> Undo | None:
    row = session.execute(
        select(Compensation.no, Compensation.attempt, Compensation.seq)
        .where(Compensation.run_id == run_id, Compensation.state == state)
        .order_by(Compensation.seq.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Undo(**row._mapping)


def begun(session: Session, run_id: str) -> Undo | None:
    """The step that is being undone."""
    return _first(session, run_id, "begun")


def failed(session: Session, run_id: str) -> Undo | None:
    """The step that could not be undone."""
    return _first(session, run_id, "failed")


def next_(session: Session, run_id: str) -> Undo | None:
    """The step that is undone next: the one that completed last. None behind one that could not be undone."""
    found, stuck = _first(session, run_id, "open"), failed(session, run_id)
    return None if found is None or (stuck is not None and stuck.seq > found.seq) else found


def begin(session: Session, run_id: str, no: int) -> None:
    """A step is being undone."""
    _set(session, run_id, no, "begun")


def fail(session: Session, run_id: str, no: int) -> None:
    """A step could not be undone."""
    _set(session, run_id, no, "failed")


def _set(session: Session, run_id: str, no: int, state: str) -> None:
    own = (Compensation.run_id == run_id, Compensation.no == no)
    session.execute(update(Compensation).where(*own).values(state=state))


def done(session: Session, run_id: str, no: int) -> None:
    """A step was undone."""
    session.execute(delete(Compensation).where(Compensation.run_id == run_id, Compensation.no == no))


def forget(session: Session, run_id: str) -> None:
    """A run goes on: nothing of it is to be undone now."""
    session.execute(delete(Compensation).where(Compensation.run_id == run_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A compensation's step that begins for the first time."""

    no: int
    path: str
    queue: str
    undone_attempt: int
    idempotency_key: str


def insert_step(session: Session, run_id: str, step: Begun) -> None:
    """Insert a compensation's step, pending, and count it. Its `live_in` names the attempt that it undoes."""
    row: dict[str, Any] = {
        "run_id": run_id,
        "no": step.no,
        "path": step.path,
        "status": "pending",
        "attempt": 0,
        "undecided": 0,
        "live": 0,
        "live_in": str(step.undone_attempt),
        "tries": 0,
        "losses": 0,
        "queue": step.queue,
        "in_chord": False,
        "sends": 0,
        "idempotency_key": step.idempotency_key,
    }
    session.execute(insert(Step).values(**row))
    session.execute(update(Run).where(Run.id == run_id).values(open_steps=Run.open_steps + 1))


def remaining(session: Session, run_id: str, limit: int) -> list[str]:
    """The paths of the steps that are still to be undone, in the order in which they will be."""
    query = (
        select(Step.path)
        .join(Compensation, (Compensation.run_id == Step.run_id) & (Compensation.no == Step.no))
        .where(Compensation.run_id == run_id, Compensation.state == "open")
        .order_by(Compensation.seq.desc())
        .limit(limit)
    )
    return list(session.scalars(query))


def undone(session: Session, run_id: str) -> list[int]:
    """The numbers of the steps that were undone, and of the one that could not be."""
    found = select(Step.no).where(Step.run_id == run_id, Step.status == "compensated")
    stuck = failed(session, run_id)
    return [*session.scalars(found), *([] if stuck is None else [stuck.no])]


def was_reset(session: Session, run_id: str, path: str, attempt: int) -> bool:
    """Whether a step was reset, to be done anew, after an attempt of it had begun."""
    told = select(Event.data).where(Event.run_id == run_id, Event.step == path, Event.type == "step.reset")
    return any(data["attempt"] >= attempt for data in session.scalars(told))
