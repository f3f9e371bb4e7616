"""What the guards of kombu are for, on a Redis that goes away."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis.exceptions
from kombu import Connection, Consumer, Exchange, Queue

from tasks import kombu_guards
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.redis
PLACES = 2


@pytest.fixture
def connection(own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """A consumer's connection; the guards are gone after the test, where they were not there before."""
    from kombu.transport.redis import Channel, QoS

    monkeypatch.setattr(QoS, "ack", QoS.ack)
    monkeypatch.setattr(Channel, "_connparams", Channel._connparams)
    kombu_guards.install()
    with Connection(own_redis.url()) as opened:
        yield opened


def test_a_connection_is_seen_to_be_lost_by_a_worker_whose_acknowledgements_failed(
    connection: Connection, own_redis: RedisServer
) -> None:
    """All of its places are taken as Redis goes; it still has to read what it waits on, to find that out."""
    taken: list[Any] = []
    queue = Queue("places", Exchange("places"), routing_key="places")
    with connection.SimpleQueue(queue) as sending:
        for number in range(PLACES):
            sending.put(number)
    consumer = Consumer(connection, [queue], on_message=taken.append, prefetch_count=PLACES)
    with consumer:
        while len(taken) < PLACES:
            connection.drain_events(timeout=5)
        channel = consumer.channel
        channel._brpop_start()  # as a hub does while there is a place
        own_redis.kill()
        for message in taken:
            with pytest.raises(redis.exceptions.ConnectionError):
                message.ack()
        assert channel.qos.can_consume()
        with pytest.raises(connection.connection_errors):
            connection.drain_events(timeout=5)
        own_redis.start()
