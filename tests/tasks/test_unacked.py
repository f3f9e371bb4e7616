"""What Redis is told of messages that a worker holds, and what becomes of them when it ends."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import kombu
import kombu.transport.redis as kombu_redis
import pytest
import redis
from kombu import Consumer, Exchange, Queue
from kombu.asynchronous import Hub, set_event_loop

from tasks import unacked
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.redis
QUEUE = Queue("held", Exchange("held"), routing_key="held")


@dataclass(slots=True, kw_only=True)
class Worker:
    """A consumer as Celery's: it reads in an event loop, and holds what it takes."""

    connection: Any
    hub: Any = field(default_factory=Hub)
    taken: list[Any] = field(default_factory=list)
    acks: bool = False
    loop: Any = None
    consumer: Any = None

    def start(self, places: int) -> None:
        self.connection.connect()
        self.connection.transport.register_with_event_loop(self.connection.connection, self.hub)
        self.consumer = Consumer(self.connection, [QUEUE], on_message=self.take, prefetch_count=places)
        self.consumer.consume()
        self.hub.propagate_errors = self.connection.connection_errors
        self.loop = self.hub.create_loop()

    def take(self, message: Any) -> None:
        self.taken.append(message)
        if self.acks:
            message.ack()

    def until(self, met: Any) -> None:
        deadline = time.monotonic() + 10
        while not met():
            assert time.monotonic() < deadline
            next(self.loop)

    def written(self) -> None:
        """Go on until nothing is left to be written."""
        qos = self.consumer.channel.qos
        self.until(lambda: not qos._to_note and not qos._to_forget)


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place for the test, where it was not there before."""
    monkeypatch.setattr(kombu_redis.Channel, "QoS", kombu_redis.Channel.QoS)
    name = "register_with_event_loop"
    monkeypatch.setattr(kombu_redis.Transport, name, getattr(kombu_redis.Transport, name))
    unacked.install()


@pytest.fixture
def worker(own_redis: RedisServer, late: None) -> Iterator[Worker]:
    with kombu.Connection(own_redis.url()) as connection:
        ours = Worker(connection=connection)
        yield ours
    ours.hub.close()
    if ours.hub._waker is not None:
        ours.hub._waker.close()
    set_event_loop(None)


@pytest.fixture
def client(own_redis: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(own_redis.url()) as opened:
        yield opened


def send(worker: Worker, count: int) -> None:
    with worker.connection.Producer() as producer:
        for number in range(count):
            producer.publish(number, routing_key="held", exchange=QUEUE.exchange, declare=[QUEUE])


def calls(client: redis.Redis, *names: str) -> int:
    found: Any = client.info("commandstats")
    return sum(found.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names)


def held(client: redis.Redis) -> tuple[Any, Any]:
    return client.zcard("unacked_index"), client.hlen("unacked")


def test_what_is_acknowledged_at_once_is_never_written(worker: Worker, client: redis.Redis) -> None:
    worker.acks = True
    worker.start(places=4)
    send(worker, 50)
    worker.until(lambda: len(worker.taken) == 50)
    worker.written()
    assert calls(client, "zadd", "hset", "zrem", "hdel") == 0


def test_what_is_held_is_written_in_one_transaction_and_forgotten_in_one(
    worker: Worker, client: redis.Redis
) -> None:
    worker.start(places=10)
    send(worker, 12)
    worker.until(lambda: len(worker.taken) == 10)
    worker.written()
    assert held(client) == (10, 10)
    assert len(worker.taken) == 10
    before = calls(client, "exec")
    for message in worker.taken[:10]:
        message.ack()
    worker.written()
    worker.until(lambda: len(worker.taken) == 12)
    worker.written()
    assert held(client) == (2, 2)
    assert calls(client, "exec") - before <= 2


def test_what_was_taken_a_moment_ago_goes_back_when_the_worker_ends(
    worker: Worker, client: redis.Redis
) -> None:
    """In the order that it came in, and what was acknowledged does not."""
    worker.start(places=4)
    send(worker, 6)
    worker.until(lambda: len(worker.taken) == 4)
    assert held(client) != (4, 4)  # not yet
    worker.taken[0].ack()
    worker.connection.close()
    assert client.llen("held") == 5
    assert held(client) == (0, 0)


def test_what_a_killed_worker_held_is_there_for_others(
    worker: Worker, client: redis.Redis, own_redis: RedisServer
) -> None:
    worker.start(places=3)
    send(worker, 3)
    worker.until(lambda: len(worker.taken) == 3)
    worker.written()
    with kombu.Connection(own_redis.url(), transport_options={"visibility_timeout": -1}) as other:
        other.default_channel.qos.restore_visible()
    assert (client.llen("held"), held(client)) == (3, (0, 0))


def test_a_rejected_message_goes_back_even_when_it_was_not_written_yet(
    worker: Worker, client: redis.Redis
) -> None:
    worker.start(places=2)
    send(worker, 2)
    worker.until(lambda: len(worker.taken) == 2)
    worker.taken[0].requeue()
    worker.taken[1].reject()
    worker.connection.close()
    assert (client.llen("held"), held(client)) == (1, (0, 0))


def test_a_redis_that_is_away_is_noticed_and_what_is_held_goes_back_when_it_returns(
    worker: Worker, client: redis.Redis, own_redis: RedisServer
) -> None:
    worker.start(places=2)
    send(worker, 2)
    worker.until(lambda: len(worker.taken) == 2)
    own_redis.kill()
    with pytest.raises(worker.connection.connection_errors):
        worker.written()
    own_redis.start()
    worker.connection.close()
    assert (client.llen("held"), held(client)) == (2, (0, 0))


def test_another_kombu_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kombu_redis.Channel, "QoS", kombu_redis.QoS)
    monkeypatch.setattr(kombu, "VERSION", (5, 8, 0))
    unacked.install()
    assert kombu_redis.Channel.QoS is kombu_redis.QoS
