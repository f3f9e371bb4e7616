"""Following the event bus: one message after the other to a handler, tried again, buried, replayed from the journal.

Nothing here is known to a driver: how often a handler is tried, which types a subscriber wants, and what it missed are
the same on every bus.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from models.errors import InvalidError, SettingsError, UnavailableError
from orchestrator import registry
from orchestrator.bus import BusParts, DeadLetter, Delivery, EventBus, Message, Subscription, check_name
from orchestrator.core import event_types
from orchestrator.services import deps as services
from orchestrator.services.journal_replay import Replay, replayed
from orchestrator.settings import Settings

_log = structlog.get_logger(__name__)
Handler = Callable[[Message], None]
_TAKE_SECONDS = 1.0
_RECONNECT_SECONDS = 1.0
_REMEMBERED = 10_000  # runs whose replayed events are not handled again


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often a message is given to a handler that raises, and the seconds between: `first`, then `factor` times
    the last, `most` at most. With the defaults a message is dead after 8 s. All later ones wait meanwhile: that is
    what keeps their order.

    losses: times that a process may end while it works on a message, before that is a dead letter too.
    """

    tries: int = 5
    first: float = 0.2
    factor: float = 3.0
    most: float = 10.0
    losses: int = 5

    def pause(self, tried: int) -> float:
        """Seconds after try number `tried`."""
        return float(min(self.most, self.first * self.factor ** (tried - 1)))


def subscribe(
    settings: Settings,
    name: str,
    types: Sequence[str],
    handler: Handler,
    *,
    replay: Replay | None = None,
    patience: Patience | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Call `handler` with each event of these types (`run.*`, `step.failed`, `*`), until `stop` is set.

    name: the subscriber's; it is made where it is new, and then gets what is published from now on. replay: events
    from the journal that come first. An exception of the handler is a refusal. Connections that are lost are made
    anew. Raises SettingsError where there is no bus to follow, InvalidError for a name or pattern that is none.
    """
    with opened(settings) as bus:
        follower = Follower(
            bus=bus,
            name=name,
            types=tuple(types),
            handler=handler,
            patience=patience or Patience(),
            stop=stop or threading.Event(),
        )
        if replay is None:
            follower.follow()
            return
        bus.subscribe(name).close()  # first, so that nothing falls between the journal and the bus
        deps = services.build(settings, pool_size=1)
        try:
            follower.first(replayed(deps, replay))
        finally:
            deps.close()
        follower.follow()


class opened:  # noqa: N801 - used as a function is
    """The bus that settings name, for a program of its own, closed at the end. Raises SettingsError."""

    def __init__(self, settings: Settings) -> None:
        url = settings.bus
        if url is None or url.startswith("memory:"):
            shown = "off" if url is None else "within each process alone"
            raise SettingsError(
                f"the event bus is {shown}; set ORCHESTRATOR_EVENT_BUS to a URL of Redis, NATS or RabbitMQ"
            )
        self._bus = registry.make_bus(BusParts(settings=settings, url=url))

    def __enter__(self) -> EventBus:
        return self._bus

    def __exit__(self, *_raised: object) -> None:
        self._bus.close()


@dataclass(slots=True, kw_only=True)
class Follower:
    """One process of a subscriber, in one thread."""

    bus: EventBus
    name: str
    types: tuple[str, ...]
    handler: Handler
    patience: Patience = field(default_factory=Patience)
    stop: threading.Event = field(default_factory=threading.Event)
    _replayed: OrderedDict[str, int] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        check_name(self.name)
        for pattern in self.types:
            if not event_types.is_pattern(pattern):
                raise InvalidError(f"{pattern!r} picks no events; write a type such as run.failed, run.* or *")

    def first(self, messages: Iterable[Message]) -> None:
        """Give messages of the journal to the handler; from the bus they are not given again."""
        for message in messages:
            if not self._give(message):
                return
            self._remember(message)

    def follow(self) -> None:
        """Take messages until told to stop."""
        subscription: Subscription | None = None
        try:
            while not self.stop.is_set():
                try:
                    subscription = subscription or self.bus.subscribe(self.name)
                    self._one(subscription)
                except UnavailableError as error:
                    _log.warning("the event bus is away; trying again", subscriber=self.name, error=str(error))
                    if subscription is not None:
                        subscription.close()
                        subscription = None
                    self.stop.wait(_RECONNECT_SECONDS)
        finally:
            if subscription is not None:
                subscription.close()

    def _one(self, subscription: Subscription) -> None:
        delivery = subscription.take(_TAKE_SECONDS)
        if delivery is None:
            return
        if self._lost(delivery):
            reason = f"{self.patience.losses} processes ended while they worked on it"
            self._bury(delivery.message, reason, delivery.deliveries - 1)
        elif not self._known(delivery.message) and not self._give(delivery.message):
            return  # told to stop in the middle: it comes again
        subscription.ack(delivery)

    def _lost(self, delivery: Delivery) -> bool:
        return delivery.deliveries > self.patience.losses and event_types.matches(self.types, delivery.message.type)

    def _give(self, message: Message) -> bool:
        """True when the message is done with: handled, not wanted, or buried."""
        if not event_types.matches(self.types, message.type):
            return True
        for tried in range(1, self.patience.tries + 1):
            try:
                self.handler(message)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                _log.warning("refused", subscriber=self.name, message=message.id, tries=tried, error=reason)
            else:
                return True
            if tried < self.patience.tries and self.stop.wait(self.patience.pause(tried)):
                return False
        self._bury(message, reason, self.patience.tries)
        return True

    def _bury(self, message: Message, reason: str, tries: int) -> None:
        self.bus.bury(
            self.name, DeadLetter(message=message, reason=reason[:2000], tries=tries, at=time.time())
        )
        _log.error("dead letter", subscriber=self.name, message=message.id, tries=tries, error=reason)

    def _remember(self, message: Message) -> None:
        run, _, seq = message.id.rpartition(":")
        if message.run_id is not None:
            self._replayed[run] = int(seq)
            self._replayed.move_to_end(run)
            if len(self._replayed) > _REMEMBERED:
                self._replayed.popitem(last=False)

    def _known(self, message: Message) -> bool:
        seen = self._replayed.get(message.run_id or "")
        if message.only is not None or seen is None:
            return False
        return int(message.id.rpartition(":")[2]) <= seen
