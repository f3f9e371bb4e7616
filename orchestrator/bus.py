"""The event bus: what its drivers look like from the engine, and what every one of them guarantees.

A bus carries events to subscribers outside. The journal in the database stays the truth: what a bus loses, or has
not kept for long enough, can be replayed from there (`orchestrator.services.subscribing`).

What holds for every driver:

- `publish` returns when the server has all messages, in their order. Whatever happens to a caller before that, the
  messages may be there or not; published again they come twice. So messages come *at least once*; their id is the
  same each time.
- A subscriber is a name. It is made by the first `subscribe` and gets what is published from then on, whether one of
  its processes is there or not, up to `KEPT` messages or `KEPT_BYTES`; what is older than that is gone from the bus.
  Each name gets every message.
- Of the processes that subscribe under one name *one is at work at a time*, and takes one message after the other; the
  others stand by and go on when it ends or dies. So what a subscriber sees is in the order of publishing, which for the
  events of a run is the order of their seq, whatever process saw what came before.
- A message is done with when it was acknowledged. One that was taken and not acknowledged comes again, before all later
  ones, to the same or another process; `Delivery.deliveries` counts that.
- A message that its subscriber refuses for good is buried: kept apart for that name as a dead letter, until it is
  requeued. It then comes to that name alone, after what was published meanwhile.
"""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from models.errors import InvalidError
from orchestrator.settings import Settings

KEPT = 100_000  # messages that a server keeps for its subscribers
KEPT_BYTES = 128 << 20
DEAD_KEPT = 10_000  # dead letters of one subscriber, the newest
LEASE_SECONDS = 10.0  # how long a process at work may be silent before another takes its place
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One event on its way.

    id: `<run>:<seq>` for an event of a run, else opaque; the same however often the event comes. body: JSON, the event
    as the API shows it with its `workspace_id`. only: the one subscriber that it is for, None for all of them.
    """

    id: str
    type: str
    workspace_id: str
    run_id: str | None
    body: str
    only: str | None = None

    @property
    def event(self) -> dict[str, Any]:
        """`{seq, type, run_id, step?, at, actor?, data, workspace_id}`."""
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message that was taken. deliveries: how often, this time included. token: the driver's own."""

    message: Message
    deliveries: int
    token: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that a subscriber refused. at: when, in seconds since 1970."""

    message: Message
    reason: str
    tries: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BusParts:
    """What a driver may use, given to it once when it is made. The numbers: see the constants of the same names."""

    settings: Settings
    url: str
    lease: float = LEASE_SECONDS
    kept: int = KEPT
    kept_bytes: int = KEPT_BYTES


class Subscription(Protocol):
    """A process's place behind a subscriber's name; used by one thread. Each call raises UnavailableError."""

    def take(self, wait: float) -> Delivery | None:
        """The next message. None after `wait` seconds without one, or while another process is at work.

        The one taken before must have been acknowledged. After an error the subscription is to be closed.
        """
        ...

    def ack(self, delivery: Delivery) -> None:
        """Be done with a message. When this raises, it may come again."""
        ...

    def close(self) -> None:
        """Leave at once; what was not acknowledged comes again. Never raises."""
        ...


class EventBus(Protocol):
    """The driver of one kind of server: made once a process, used by many threads.

    A plug-in is a class of one argument, BusParts, named by an entry point of the group `orchestrator.buses`; the name
    is the scheme of its URLs. Each call raises UnavailableError when the server does not answer, within seconds.
    """

    def publish(self, messages: Sequence[Message]) -> None:
        """Hand messages over, in order; returns when the server has them."""
        ...

    def subscribe(self, name: str) -> Subscription:
        """A place behind a name, which is made where it is new."""
        ...

    def bury(self, name: str, letter: DeadLetter) -> None:
        """Keep a dead letter for a subscriber."""
        ...

    def dead_letters(self, name: str, limit: int = 100) -> Sequence[DeadLetter]:
        """A subscriber's dead letters, the oldest first."""
        ...

    def requeue(self, name: str, ids: Collection[str] | None = None) -> int:
        """Send dead letters to their subscriber again, those with these ids or all of them; how many there were."""
        ...

    def remove(self, name: str) -> None:
        """Forget a subscriber, what waits for it and its dead letters; one that is not there is fine."""
        ...

    def ping(self) -> str:
        """What answered, for people."""
        ...

    def close(self) -> None: ...


# What reading a message raises that somebody else has put there; it is passed over.
FOREIGN: tuple[type[Exception], ...] = (KeyError, TypeError, ValueError)


def check_name(name: str) -> None:
    """Raises InvalidError for what is no subscriber's name."""
    if not NAME.fullmatch(name):
        raise InvalidError(
            f"{name!r} is no name of a subscriber; write 1 to 64 letters, digits, hyphens and underscores"
        )


def fields(message: Message) -> dict[str, str]:
    """A message as plain fields, for servers that keep those; `message` turns them back."""
    found = {"id": message.id, "type": message.type, "workspace": message.workspace_id, "body": message.body}
    found |= {} if message.run_id is None else {"run": message.run_id}
    return found | ({} if message.only is None else {"only": message.only})


def message(found: dict[str, str]) -> Message:
    """The message of its fields."""
    return Message(
        id=found["id"],
        type=found["type"],
        workspace_id=found["workspace"],
        run_id=found.get("run"),
        body=found["body"],
        only=found.get("only"),
    )


def letter_text(letter: DeadLetter) -> str:
    """A dead letter as JSON, for servers that keep texts; `letter` turns it back."""
    more = {"reason": letter.reason, "tries": letter.tries, "at": letter.at}
    return json.dumps({"message": fields(letter.message), **more}, ensure_ascii=False)


def letter(text: str) -> DeadLetter:
    """The dead letter of its text."""
    found = json.loads(text)
    return DeadLetter(
        message=message(found["message"]), reason=found["reason"], tries=found["tries"], at=found["at"]
    )
