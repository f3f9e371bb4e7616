"""What the event buses lose when servers, connections and processes go: nothing that was published."""

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import amqp
import nats
import pytest
import redis

from models.errors import UnavailableError
from orchestrator.bus import DeadLetter, EventBus
from orchestrator.drivers.rabbitmq_link import RabbitLink
from orchestrator.settings import Settings
from tests.support.buses import SERVERS, Listen, Open, ids, said
from tests.support.nats_server import NatsServer
from tests.support.polling import poll
from tests.support.processes import StartProgram
from tests.support.programs import Program
from tests.support.proxy import Proxy
from tests.support.rabbitmq_server import RabbitServer
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.timeout(120)
servers = pytest.mark.parametrize("bus_kind", SERVERS)
redis_alone = pytest.mark.parametrize("bus_kind", ["redis"])
OpenProxy = Callable[[str, int], Proxy]
SLOWLY = 'cat >> "$HEARD"; echo >> "$HEARD"; sleep 0.05'


def through(url: str, proxy: Proxy) -> str:
    found = urlsplit(url)
    user, at, _ = found.netloc.rpartition("@")
    return found._replace(netloc=f"{user}{at}127.0.0.1:{proxy.port}").geturl()


def port(url: str) -> int:
    found = urlsplit(url).port
    assert found is not None
    return found


def firsts(found: list[str]) -> list[str]:
    """The ids without their repeats."""
    return list(dict.fromkeys(found))


@servers
def test_a_server_that_is_away_is_an_error_soon_and_nothing_comes_of_it(
    bus_url: str, event_bus: EventBus, open_bus: Open, listen: Listen, proxy: OpenProxy, name: str
) -> None:
    way = proxy("127.0.0.1", port(bus_url))
    publisher = open_bus(through(bus_url, way))
    listener = listen(name)
    publisher.publish([said(1)])
    way.refuse()
    way.cut()
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="the event bus on"):
            publisher.publish([said(2)])
        assert time.monotonic() - began < 20  # seconds, not minutes, on a machine that is busy
    with pytest.raises(UnavailableError):
        publisher.ping()
    way.accept()

    def published() -> bool:
        try:
            publisher.publish([said(2), said(3)])
        except UnavailableError:
            return False
        return True

    poll(published)
    poll(lambda: len(listener.heard) >= 3 or None)
    assert ids(listener.heard) == ["r1:1", "r1:2", "r1:3"]


@servers
def test_a_frozen_server_is_an_error_within_seconds(
    bus_url: str, open_bus: Open, proxy: OpenProxy
) -> None:
    way = proxy("127.0.0.1", port(bus_url))
    publisher = open_bus(through(bus_url, way))
    publisher.publish([said(1)])
    way.freeze()
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        publisher.publish([said(2)])
    assert time.monotonic() - began < 14  # bus_feed.LEASE_SECONDS
    way.cut()
    way.thaw()


@servers
def test_cut_connections_of_a_subscriber_lose_nothing(
    bus_url: str, event_bus: EventBus, open_bus: Open, listen: Listen, proxy: OpenProxy, name: str
) -> None:
    """Repeats may come; the order in which each comes first is that of publishing."""
    way = proxy("127.0.0.1", port(bus_url))
    listener = listen(name, bus=open_bus(through(bus_url, way)))
    sent = [said(seq, f"r{seq % 3}") for seq in range(1, 1001)]
    for place in range(0, 1000, 50):
        event_bus.publish(sent[place : place + 50])
        if place in (200, 500, 800):
            poll(lambda place=place: len(listener.heard) > place)  # type: ignore[misc]
            way.cut()
    poll(lambda: len(set(ids(listener.heard))) == 1000 or None, 60)
    assert firsts(ids(listener.heard)) == ids(sent)
    assert event_bus.dead_letters(name) == []


@pytest.mark.crash
@servers
def test_another_process_goes_on_where_a_killed_one_was(
    bus_url: str, event_bus: EventBus, programs: StartProgram, name: str, tmp_path: Path
) -> None:
    """Two processes of one name, by the command line; the one at work is killed in the middle, twice."""
    heard = tmp_path / "heard"
    heard.touch()
    settings = Settings(event_bus=bus_url)
    event_bus.subscribe(name).close()

    def begin() -> Program:
        command = ("-m", "orchestrator.cli", "bus", "tail", "--name", name, "--exec", SLOWLY)
        return programs(settings, *command, extra={"HEARD": str(heard)})

    def count() -> int:
        return heard.read_text().count('"seq"')

    running = [begin()]
    event_bus.publish([said(seq) for seq in range(1, 101)])
    poll(lambda: count() >= 10, 30)
    running.append(begin())
    poll(lambda: count() >= 20, 30)
    running[0].kill()
    poll(lambda: count() >= 40, 30, "the second process at work")
    running.append(begin())
    running[1].signal(signal.SIGKILL)
    poll(lambda: '"seq": 100,' in heard.read_text(), 40, "the last event")
    found = [line.split('"seq": ')[1].split(",")[0] for line in heard.read_text().splitlines() if "seq" in line]
    assert firsts(found) == [str(seq) for seq in range(1, 101)]
    assert len(found) <= 104
    event_bus.remove(name)


@pytest.mark.crash
def test_redis_keeps_messages_over_a_restart(own_redis: RedisServer, open_bus: Open, name: str) -> None:
    kept_over_a_restart(open_bus(own_redis.url()), own_redis, name)


@pytest.mark.crash
def test_nats_keeps_messages_over_a_restart(own_nats: NatsServer, open_bus: Open, name: str) -> None:
    kept_over_a_restart(open_bus(own_nats.url()), own_nats, name)


@pytest.mark.crash
@pytest.mark.rabbitmq
def test_rabbitmq_keeps_messages_over_a_restart(tmp_path: Path, open_bus: Open, name: str) -> None:
    server = RabbitServer(tmp_path)
    try:
        kept_over_a_restart(open_bus(server.url()), server, name)
    finally:
        server.kill()


def kept_over_a_restart(bus: EventBus, server: RedisServer | NatsServer | RabbitServer, name: str) -> None:
    """Waiting messages, what was acknowledged of them, and dead letters are there."""
    place = bus.subscribe(name)
    bus.publish([said(seq) for seq in range(1, 6)])
    first = poll(lambda: place.take(1.0))
    place.ack(first)
    assert poll(lambda: place.take(1.0)).message.id == "r1:2"
    if isinstance(server, RedisServer):
        time.sleep(1.1)  # appendfsync everysec is what is shipped
    server.stop() if isinstance(server, RabbitServer) else server.kill()
    with pytest.raises(UnavailableError):
        bus.ping()
    place.close()
    server.start()
    again = poll(lambda: subscribed(bus, name), 30)
    found: list[str] = ["r1:1"]  # its acknowledgement may be lost with the server
    while found[-1] != "r1:5":
        taken = poll(lambda: again.take(1.0), 20)
        found.append(taken.message.id)
        again.ack(taken)
    assert firsts(found) == ["r1:1", "r1:2", "r1:3", "r1:4", "r1:5"]
    assert len(found) <= 6
    again.close()


def subscribed(bus: EventBus, name: str):  # type: ignore[no-untyped-def]
    try:
        return bus.subscribe(name)
    except UnavailableError:
        return None


@redis_alone
def test_a_flushed_redis_goes_on_with_what_comes_then(
    own_redis: RedisServer, open_bus: Open, listen: Listen, name: str, bus_kind: str
) -> None:
    bus = open_bus(own_redis.url())
    listener = listen(name, bus=bus)
    bus.publish([said(1)])
    poll(lambda: listener.heard)
    own_redis.flush()
    bus.publish([said(2), said(3)])
    poll(lambda: len(listener.heard) == 3 or None, 20)
    assert ids(listener.heard) == ["r1:1", "r1:2", "r1:3"]


@redis_alone
def test_the_stream_in_redis_is_bounded_by_number_and_by_size(
    redis_url: str, open_bus: Open, bus_kind: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        open_bus(redis_url, kept=500).publish([said(seq) for seq in range(1, 2001)])
        assert 500 <= int(client.xlen("orchestrator:events")) < 700  # type: ignore[arg-type]
        client.delete("orchestrator:events")
        open_bus(redis_url, kept_bytes=1 << 20).publish([said(seq, data="x" * 10_000) for seq in range(1, 501)])
        assert 0 < int(client.memory_usage("orchestrator:events") or 0) <= 1 << 20  # type: ignore[arg-type]


@redis_alone
def test_dead_letters_in_redis_are_bounded_by_size(redis_url: str, open_bus: Open, name: str, bus_kind: str) -> None:
    found = open_bus(redis_url, kept_bytes=1 << 20)
    for seq in range(1, 301):
        message = said(seq, data="x" * 10_000)
        found.bury(name, DeadLetter(message=message, reason="no", tries=5, at=0.0))
    with redis.Redis.from_url(redis_url) as client:
        used = int(client.memory_usage(f"orchestrator:events:dead:{name}") or 0)  # type: ignore[arg-type]
    assert 0 < used <= 1 << 20
    assert found.dead_letters(name, 1_000)[-1].message.id == "r1:300"


@redis_alone
def test_messages_that_were_trimmed_meanwhile_are_passed_over(
    redis_url: str, event_bus: EventBus, listen: Listen, name: str, bus_kind: str
) -> None:
    place = event_bus.subscribe(name)
    event_bus.publish([said(seq) for seq in range(1, 11)])
    assert poll(lambda: place.take(1.0)).message.id == "r1:1"
    place.close()
    with redis.Redis.from_url(redis_url) as client:
        client.xtrim("orchestrator:events", maxlen=3, approximate=False)
    listener = listen(name)
    poll(lambda: len(listener.heard) == 3 or None)
    assert ids(listener.heard) == ["r1:8", "r1:9", "r1:10"]


def test_nats_drops_what_is_published_twice(
    nats_server: NatsServer, open_bus: Open, name: str
) -> None:
    bus = open_bus(nats_server.url(name))
    place = bus.subscribe(name)
    for _ in range(3):
        bus.publish([said(1)])
    bus.publish([said(2)])
    found = []
    while taken := place.take(0.5):
        found.append(taken.message.id)
        place.ack(taken)
    assert found == ["r1:1", "r1:2"]
    place.close()


def test_a_wrong_password_says_so(amqp_url: str, open_bus: Open) -> None:
    wrong = replace_user(amqp_url)
    with pytest.raises(UnavailableError, match=r"(?i)access.refused"):
        open_bus(wrong).publish([said(1)])


@servers
def test_what_others_put_there_and_is_no_event_is_passed_over(
    bus_url: str, bus_kind: str, event_bus: EventBus, listen: Listen, name: str
) -> None:
    listener = listen(name)
    event_bus.publish([said(1)])
    {"redis": into_redis, "nats": into_nats, "rabbitmq": into_rabbitmq}[bus_kind](bus_url)
    event_bus.publish([said(2)])
    poll(lambda: len(listener.heard) == 2 or None)
    assert ids(listener.heard) == ["r1:1", "r1:2"]


def into_redis(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.xadd("orchestrator:events", {"colour": "red"})


def into_nats(url: str) -> None:
    async def put() -> None:
        client = await nats.connect(url)
        await client.publish(f"{urlsplit(url).path[1:]}.orchestrator.events.w1.x", b"no JSON")
        await client.flush()
        await client.close()

    asyncio.run(put())


def into_rabbitmq(url: str) -> None:
    with RabbitLink(url).channel() as channel:
        channel.basic_publish(amqp.Message("[1]"), "orchestrator.events", "w1.x")
        channel.connection.close()


def replace_user(url: str) -> str:
    found = urlsplit(url)
    return found._replace(netloc=f"nobody:nothing@{found.netloc.rpartition('@')[2]}").geturl()
