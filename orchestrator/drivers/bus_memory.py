"""The event bus within one process: for tests, and for subscribers that live beside what publishes."""

import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from models.errors import UnavailableError
from orchestrator import bus
from orchestrator.bus import BusParts, DeadLetter, Delivery, Message


@dataclass(slots=True)
class _Name:
    """What one subscriber has: waiting messages with how often each was taken, and whose turn it is."""

    waiting: deque[tuple[Message, int]]
    dead: deque[DeadLetter] = field(default_factory=lambda: deque(maxlen=bus.DEAD_KEPT))
    places: "list[MemorySubscription]" = field(default_factory=list)


class MemoryBus:
    """`bus.EventBus`; a name lives as long as the process."""

    def __init__(self, parts: BusParts) -> None:
        self._kept = parts.kept
        self._names: dict[str, _Name] = {}
        self._changed = threading.Condition()

    def publish(self, messages: Sequence[Message]) -> None:
        with self._changed:
            for name, found in self._names.items():
                found.waiting.extend((each, 0) for each in messages if each.only in (None, name))
            self._changed.notify_all()

    def subscribe(self, name: str) -> "MemorySubscription":
        bus.check_name(name)
        with self._changed:
            found = self._names.setdefault(name, self._new())
            found.places.append(MemorySubscription(found, self._changed))
            return found.places[-1]

    def bury(self, name: str, letter: DeadLetter) -> None:
        with self._changed:
            self._names.setdefault(name, self._new()).dead.append(letter)

    def dead_letters(self, name: str, limit: int = 100) -> Sequence[DeadLetter]:
        with self._changed:
            return list(self._names.get(name, self._new()).dead)[:limit]

    def requeue(self, name: str, ids: Collection[str] | None = None) -> int:
        with self._changed:
            found = self._names.get(name, self._new())
            taken = [each for each in found.dead if ids is None or each.message.id in ids]
            kept = [each for each in found.dead if each not in taken]
            found.dead.clear()
            found.dead.extend(kept)
            found.waiting.extend((replace(each.message, only=name), 0) for each in taken)
            self._changed.notify_all()
            return len(taken)

    def remove(self, name: str) -> None:
        with self._changed:
            found = self._names.pop(name, None)
            if found is not None:
                found.places.clear()

    def ping(self) -> str:
        return "in this process alone"

    def close(self) -> None:
        with self._changed:
            self._names.clear()

    def _new(self) -> _Name:
        return _Name(deque(maxlen=self._kept))


class MemorySubscription:
    """`bus.Subscription`: the first place behind a name is at work."""

    def __init__(self, name: _Name, changed: threading.Condition) -> None:
        self._name = name
        self._changed = changed
        self._taken: tuple[Message, int] | None = None

    def take(self, wait: float) -> Delivery | None:
        end = time.monotonic() + wait
        with self._changed:
            while not self._next():
                if self not in self._name.places:
                    raise UnavailableError("the subscriber was removed")
                if not self._changed.wait(max(0.0, end - time.monotonic())):
                    return None
            message, before = self._name.waiting.popleft()
            self._taken = (message, before + 1)
            return Delivery(message=message, deliveries=before + 1, token=None)

    def ack(self, delivery: Delivery) -> None:  # noqa: ARG002 - there is one at a time
        self._taken = None

    def close(self) -> None:
        with self._changed:
            if self._taken is not None:
                self._name.waiting.appendleft(self._taken)
                self._taken = None
            if self in self._name.places:
                self._name.places.remove(self)
            self._changed.notify_all()

    def _next(self) -> bool:
        return bool(self._name.places and self._name.places[0] is self and self._name.waiting)
