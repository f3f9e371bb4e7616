"""What the hub hands to those who follow, and how much of it one of them may leave lying."""

import json
import queue
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

MOST = 256  # events that wait for one client; then it reads on from the database
Frame = tuple[Any, bytes]  # an event's place, and the event as it is sent


class Batched(Protocol):
    """Some events that are handed out together."""

    @property
    def size(self) -> int: ...

    @property
    def passing(self) -> bool:
        """Whether a client can do without them."""
        ...


B = TypeVar("B", bound=Batched)


@dataclass(slots=True, kw_only=True, eq=False)
class Follower(Generic[B]):
    """One client's place: `batches` are what came since it joined.

    behind: the client did not keep up; what follows the batches that are left it reads from the database. Before it
    comes to that, what it can do without is left out.
    """

    batches: queue.SimpleQueue[B] = field(default_factory=queue.SimpleQueue)
    behind: bool = False
    waiting: int = 0  # written by the hub: events that it put in; `taken` by the client: events that it took out
    taken: int = 0

    def offer(self, batch: B) -> None:
        left = self.waiting - self.taken
        if self.behind or (batch.passing and left >= MOST // 2):
            return
        if left and left + batch.size > MOST:
            self.behind = True
            return
        self.waiting += batch.size
        self.batches.put(batch)

    def take(self, seconds: float) -> B | None:
        """The next batch; None when there was none for so long."""
        try:
            batch = self.batches.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None
        self.taken += batch.size
        return batch

    @property
    def exhausted(self) -> bool:
        return self.behind and self.batches.empty()


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A run's rendered events by number, chunks without one; `ended`: the run had ended with the last of them."""

    frames: tuple[tuple[int | None, bytes], ...] = ()
    ended: bool = False

    @property
    def size(self) -> int:
        return max(1, len(self.frames))

    @property
    def passing(self) -> bool:
        """Whether it holds chunks alone."""
        return not self.ended and all(seq is None for seq, _ in self.frames)

    def after(self, seen: int, *, chunks: bool) -> list[bytes]:
        """What a client has not seen of it."""
        return [text for seq, text in self.frames if (chunks if seq is None else seq > seen)]

    def last(self, seen: int) -> int:
        """The number of the last event that a client has seen with it."""
        return max([seen, *(seq for seq, _ in self.frames if seq is not None)])


def batch(events: Sequence[dict[str, Any]], *, ended: bool) -> Batch:
    """A run's events, rendered; one without a number moves no client's place."""
    frames = ((event["seq"], placed(event["seq"], render(event))) for event in events)
    return Batch(frames=tuple(frames), ended=ended)


def render(event: dict[str, Any]) -> bytes:
    """An event as a server-sent one without its id (WHATWG HTML, 9.2)."""
    data = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
    return f"event: {event['type']}\ndata: {data}\n\n".encode()


def placed(place: object, rendered: bytes) -> bytes:
    """The same with its id, where it has one."""
    return rendered if place is None else f"id: {place}\n".encode() + rendered
