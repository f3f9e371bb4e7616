"""The engine in one process: a broker that is a list, workers that are this thread, beat by hand.

What it calls is what workers, API and beat call in production: services. Messages are carried in the order they
were sent, so that the same test does the same each time.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from orchestrator.core.effects import (
    Arrange,
    Effect,
    Look,
    Message,
    Relay,
    Release,
    Resume,
    Stop,
    Timer,
    Wave,
)
from orchestrator.core.lanes import parse
from orchestrator.services import concurrency, lanes, looking, relays, stops, sweeps, upcoming
from orchestrator.services.claiming import Claimed
from orchestrator.services.completing import Done
from orchestrator.services.leases import LeaseKeeper
from orchestrator.services.steps import Carrier
from orchestrator.services.upcoming import Kind, Outlook
from orchestrator.testing.clock import HandClock
from orchestrator.testing.errors import EndlessError, Halt
from orchestrator.testing.ground import StageDeps

MOST_STEPS = 100_000
_SWEEPS = ("undispatched", "timeouts", "due", "stops", "relays", "unserved")
ROUNDING = 2e-6  # moments go through rows of microseconds, and floats
NEVER = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An attempt that is at work: what will come of it is known, and is written at `until`."""

    claimed: Claimed
    done: Done
    until: float

    @property
    def key(self) -> tuple[str, int, int]:
        return self.claimed.info.id, self.claimed.no, self.claimed.attempt


@dataclass(slots=True, kw_only=True)
class Stagehand:
    """Carries what is sent. auto_skip: time passes by itself where nothing else can happen.

    receive: takes each message for a step in the place of `begin`. prompted: nothing is due but what is said to be.
    """

    deps: StageDeps
    clock: HandClock
    auto_skip: bool = True
    most_steps: int = MOST_STEPS
    deadline: float | None = None
    carrier: Carrier = field(init=False)
    inbox: deque[Message] = field(default_factory=deque)
    resumes: deque[Message] = field(default_factory=deque)
    entries: deque[Stop | Relay] = field(default_factory=deque)
    releases: list[tuple[float, str]] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    receive: Callable[[Message], None] | None = None
    prompted: bool = False
    steps: int = 0
    due_now: bool = False
    _busy: bool = False

    def __post_init__(self) -> None:
        keeper = LeaseKeeper(db=self.deps.db, seconds=self.deps.settings.lease_seconds)
        self.carrier = Carrier(deps=self.deps, send=self.send, keeper=keeper)

    def send(self, effects: Sequence[Effect]) -> None:
        """What must happen next; nothing happens yet."""
        for effect in effects:
            match effect:
                case Wave():
                    self.inbox.extend(effect.messages)
                case Resume(message=message):
                    self.resumes.append(message)
                case Look(message=message):
                    self.send(looking.look(self.deps, message.run_id, message.no, message.attempt, None))
                case Timer(seconds=seconds):
                    self.due_now = self.due_now or seconds <= 0  # later ones are rows that are due then
                case Stop() | Relay():
                    self.entries.append(effect)
                case Arrange(key=key):
                    self.send(concurrency.arrange(self.deps, key))
                case Release(lane=lane, seconds=seconds):
                    self._release(lane, seconds)

    def _release(self, lane: str, seconds: float) -> None:
        if seconds > 0:
            self.releases.append((self.clock.now() + seconds, lane))
        else:
            self.send(lanes.release(self.deps, parse(lane)))

    def settle(self) -> None:
        """Go on until nothing is left to do at this time, and time does not pass by itself."""
        self._alone(lambda: self._go_on(self._by_itself))

    def skip(self, seconds: float) -> None:
        """Let time pass; all that falls due in it happens at its moment."""
        end = self.clock.now() + seconds
        self._alone(lambda: self._skip(end))

    def _skip(self, end: float) -> None:
        self._go_on(lambda: self._until(end))
        self.clock.move_to(end)
        self._go_on(self._by_itself)

    def _until(self, end: float) -> float | None:
        ahead = self._ahead(upcoming.outlook(self.deps))
        return min((moment for moment, _ in ahead if moment <= end), default=None)

    def _alone(self, act: Callable[[], None]) -> None:
        """Mocks may act on runs while a step of theirs works: what follows is carried when it has."""
        if self._busy:
            return
        self._busy = True
        try:
            act()
        except Halt as halt:
            raise halt.cause from None
        finally:
            self._busy = False

    def _go_on(self, following: Callable[[], float | None]) -> None:
        self.drain()
        while not self.prompted and (moment := self.clock.now() if self.due_now else following()) is not None:
            self.due_now = False
            self.clock.move_to(moment + ROUNDING)
            self.fall_due()

    def fall_due(self) -> None:
        """All that is due at this time happens."""
        now = self.clock.now()
        ended = sorted((held for held in self.held if held.until <= now), key=lambda held: held.until)
        self.held = [held for held in self.held if held.until > now]
        for held in ended:
            self.carrier.complete(held.claimed, held.done)
        due, self.releases = self.releases, [each for each in self.releases if each[0] > now]
        for _, lane in (each for each in due if each[0] <= now):
            self.send(lanes.release(self.deps, parse(lane)))
        for name in _SWEEPS:
            self.send(sweeps.SWEEPS[name](self.deps).effects)
        self.drain()

    def drain(self) -> None:
        """Carry messages until none is left."""
        while self.entries or self.resumes or self.inbox:
            if self.entries:
                self._carry_out(self.entries.popleft())
            elif self.resumes:
                self.carrier.resume(self.resumes.popleft())
            else:
                (self.receive or self.begin)(self.inbox.popleft())

    def _carry_out(self, effect: Stop | Relay) -> None:
        if isinstance(effect, Stop):
            stops.carry_out(self.deps, effect.outbox_id)
        else:
            self.send(relays.carry_out(self.deps, effect.outbox_id))

    def begin(self, message: Message) -> None:
        """Begin an attempt; it ends at once unless its mock takes time."""
        self.count()
        claimed = self.carrier.claim(message)
        if claimed is None:
            return
        done = self.carrier.perform(claimed)
        after = self.deps.cast.delays.pop((claimed.info.id, claimed.no, claimed.attempt), None)
        if after is None:
            self.carrier.complete(claimed, done)
        else:
            self.held.append(Held(claimed=claimed, done=done, until=self.clock.now() + after))

    def count(self) -> None:
        """One attempt more. Raises EndlessError where it is one too many, or the time is over."""
        self.steps += 1
        if self.steps > self.most_steps:
            raise EndlessError(
                f"more than {self.most_steps:,} attempts were begun; the workflow has no end, or is too large"
            )
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise EndlessError("the time of the test is over; let it do less")

    def _by_itself(self) -> float | None:
        """The moment to which time passes by itself: the next one of all, as long as nobody outside is waited for;
        else only that of a retry, or of work that a mock lets take its time."""
        outlook = upcoming.outlook(self.deps)
        ahead = self._ahead(outlook)
        if not self.auto_skip or not ahead:
            return None
        moment, kind = min(ahead)
        waits = outlook.waits_outside or any(held.until == NEVER for held in self.held)
        return moment if kind in (Kind.RETRY, Kind.ROUND) or not waits else None

    def _ahead(self, outlook: Outlook) -> list[tuple[float, Kind]]:
        """Every moment to come that is known. What works without end is forgotten when its attempt has ended."""
        self.held = [held for held in self.held if held.until != NEVER or held.key in outlook.at_work]
        now = self.clock.now()
        found = [(moment.at, moment.kind) for moment in outlook.moments]
        found += [(held.until, Kind.RETRY) for held in self.held if held.until != NEVER]
        found += [(at, Kind.RETRY) for at, _ in self.releases]
        return [(moment, kind) for moment, kind in found if moment > now]
