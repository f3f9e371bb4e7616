"""Fixtures: the four event buses on real servers, and what the tests of buses say and hear."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from orchestrator import registry
from orchestrator.bus import BusParts, EventBus, Message
from orchestrator.services.subscribing import Follower, Patience
from orchestrator.settings import Settings
from tests.support.nats_server import NatsServer

SERVERS = ["redis", "nats", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)]
QUICK = Patience(first=0.01, most=0.05)
LEASE = 2.0


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """The session's NATS. Tests that stop theirs take `own_nats`."""
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    yield server
    server.kill()


@pytest.fixture
def own_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server that the test may kill."""
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    yield server
    server.kill()


@pytest.fixture(params=["memory", *SERVERS])
def bus_kind(request: pytest.FixtureRequest) -> str:
    """All four in turn; `parametrize("bus_kind", SERVERS)` leaves out the one without a server."""
    kind: str = request.param
    return kind


@pytest.fixture
def bus_url(bus_kind: str, request: pytest.FixtureRequest) -> str:
    """The URL of a bus with nothing in it; RabbitMQ keeps what it has for names of other tests."""
    if bus_kind == "memory":
        return "memory://"
    if bus_kind == "redis":
        return str(request.getfixturevalue("redis_url"))
    if bus_kind == "nats":
        return str(request.getfixturevalue("nats_server").url(f"t{uuid.uuid4().hex}"))
    return str(request.getfixturevalue("amqp_url"))


@pytest.fixture
def name() -> str:
    """A subscriber's name that no other test has."""
    return f"test-{uuid.uuid4().hex[:12]}"


Open = Callable[..., EventBus]


@pytest.fixture
def open_bus() -> Iterator[Open]:
    """`open_bus(url, kept=…) -> EventBus`: one of a process of its own, closed after the test."""
    opened: list[EventBus] = []

    def open_(url: str, **limits: Any) -> EventBus:
        parts = BusParts(settings=Settings(), url=url, **{"lease": LEASE} | limits)
        opened.append(registry.make_bus(parts))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()


@pytest.fixture
def event_bus(open_bus: Open, bus_url: str) -> EventBus:
    return open_bus(bus_url)


def said(seq: int, run: str = "r1", type_: str = "step.completed", data: Any = None) -> Message:
    """The event `seq` of a run."""
    event = {"seq": seq, "type": type_, "run_id": run, "data": data, "workspace_id": "w1"}
    return Message(
        id=f"{run}:{seq}",
        type=type_,
        workspace_id="w1",
        run_id=run,
        body=json.dumps(event, ensure_ascii=False),
    )


def ids(messages: Sequence[Message]) -> list[str]:
    return [message.id for message in messages]


@dataclass
class Listener:
    """A follower in a thread. `refuse(message)` says whether it is to be refused; `heard` has what was taken."""

    bus: EventBus
    name: str
    types: tuple[str, ...] = ("*",)
    refuse: Callable[[Message], bool] = lambda _message: False
    patience: Patience = QUICK
    heard: list[Message] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> "Listener":
        self.follower = Follower(
            bus=self.bus,
            name=self.name,
            types=self.types,
            handler=self._handle,
            patience=self.patience,
            stop=self.stop,
        )
        self.bus.subscribe(self.name).close()  # so that the test may publish at once
        self._thread = threading.Thread(target=self.follower.follow, daemon=True)
        self._thread.start()
        return self

    def end(self) -> None:
        self.stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _handle(self, message: Message) -> None:
        self.tried.append(message.id)
        if self.refuse(message):
            raise ValueError(f"not {message.id}")
        self.heard.append(message)


Listen = Callable[..., Listener]


@pytest.fixture
def listen(event_bus: EventBus) -> Iterator[Listen]:
    """`listen(name, …) -> Listener`, ended after the test, its subscriber removed."""
    begun: list[Listener] = []

    def begin(name: str, **options: Any) -> Listener:
        bus = options.pop("bus", event_bus)
        begun.append(Listener(bus, name, **options).start())
        return begun[-1]

    yield begin
    for each in begun:
        each.stop.set()
    for each in begun:
        each.end()
    for each in begun:
        event_bus.remove(each.name)
