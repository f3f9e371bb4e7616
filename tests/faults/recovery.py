"""How long steps whose worker was killed or frozen waited for another one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.faults.books import Books
from tests.faults.plan import Kind
from tests.faults.victims import worker
from tests.faults.wounds import Wound

# While one of these lasts nobody can go on with a step, or only few can.
_IN_THE_WAY = frozenset(Kind) - {Kind.BEAT, Kind.API, Kind.API_CHILD, Kind.GATEWAY, Kind.FLUSH}


_LOST = ("lost", "fenced")  # fenced: its worker was frozen, and told of it afterwards


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """A step that a wound interrupted; `seconds` from the wound, or what else was in the way, to its next attempt."""

    kind: Kind
    run_id: str
    no: int
    attempt: int
    seconds: float


def interrupted(books: Books, wounds: Sequence[Wound]) -> Iterator[Interrupted]:
    """Every attempt that a wound ended and another one followed."""
    by_worker = {worker(pid): wound for wound in wounds for pid in wound.pids}
    following = {(run, no, number): claimed for run, no, number, _, _, claimed in books.attempts}
    for run_id, no, number, status, name, _ in books.attempts:
        wound = by_worker.get(name)
        back = following.get((run_id, no, number + 1))
        if status not in _LOST or wound is None or back is None or back.timestamp() < wound.at:
            continue
        seconds = back.timestamp() - _free_from(wound, back.timestamp(), wounds)
        yield Interrupted(kind=wound.kind, run_id=run_id, no=no, attempt=number, seconds=seconds)


def _free_from(wound: Wound, back: float, wounds: Sequence[Wound]) -> float:
    """From when on nothing was in the way of the step's return."""
    ends = [
        min(back, other.at + other.seconds)
        for other in wounds
        if _is_in_the_way(other, wound) and other.at < back and other.at + other.seconds > wound.at
    ]
    return max([wound.at, *ends])


def _is_in_the_way(other: Wound, wound: Wound) -> bool:
    """Another wound; or its own where nobody else takes the queue."""
    return other.kind in _IN_THE_WAY and (other is not wound or wound.kind is Kind.CONTROL)
