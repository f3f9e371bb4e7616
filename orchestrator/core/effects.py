"""What must happen outside once a transaction is committed: data, returned by services, sent by tasks.

Each effect can be rebuilt from rows by a sweep, so losing one costs time and nothing else.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """`look at this step`: it may come twice, late or never. `attempt` is the fence it was queued at.

    cheap: it may travel together with others of its run that are.
    """

    run_id: str
    no: int
    path: str
    attempt: int
    queue: str = "steps"
    cheap: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """One or more steps of a run that became ready together. `join`: the step that their chord's body carries on."""

    messages: tuple[Message, ...]
    join: Message | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Go on with a parked step: a worker takes it out of `waiting` and asks its handler again, under its attempt."""

    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Ask the handler of a parked step for its answer, in a worker of the step's queue: it may take a while."""

    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """A row that is due `seconds` from now, near enough for an in-process timer beside the sweep.

    `attempt` is the one that waits: a later one has a time of its own.
    """

    run_id: str
    no: int
    attempt: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """End the work of an attempt that was given up; the outbox row `outbox_id` goes when it is done."""

    outbox_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """Pass on what a run and those that it calls have to tell each other: the outbox row `outbox_id`."""

    outbox_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrange:
    """Runs wait for the concurrency key `key`, or a run of it has ended: see who goes on."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Steps that are held in `lane` may have room, `seconds` from now."""

    lane: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver:
    """Send a webhook's delivery that was taken under the fence `attempt`."""

    delivery_id: str
    attempt: int


Effect = Wave | Resume | Look | Timer | Stop | Relay | Arrange | Release | Deliver
