"""Fixtures: Redis servers and RabbitMQ virtual hosts of our own."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest
import redis

from tests.support.missing import missing
from tests.support.redis_server import RedisServer, program

# For what depends on the database and on the broker, but on neither by the other. PostgreSQL with Redis is what
# tests/crash runs on.
EACH_ONCE = pytest.mark.parametrize(
    ("database_kind", "broker_kind"),
    [
        ("sqlite", "redis"),
        pytest.param("postgresql", "rabbitmq", marks=[pytest.mark.postgres, pytest.mark.rabbitmq]),
    ],
)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The session's Redis. Tests that stop or flush theirs take `own_redis`."""
    server = RedisServer(program(), tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> Iterator[str]:
    """An empty database of the session's Redis, for the broker; the result backend can have the same."""
    yield redis_server.url()
    with redis.Redis.from_url(redis_server.url()) as client:
        client.flushall()


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that the test may kill, stop or flush."""
    server = RedisServer(program(), tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture(scope="session")
def amqp_url(worker_id: str) -> Iterator[str]:
    """A virtual host of our own on the machine's RabbitMQ, or what AMQP_URL names."""
    given = os.environ.get("AMQP_URL")
    if given:
        yield given
        return
    if shutil.which("rabbitmqctl") is None or not _listens(5672):
        missing("RabbitMQ", "start rabbitmq-server on port 5672, or set AMQP_URL", needed_in_ci=False)
    name = f"orchestrator_test_{os.getpid()}_{worker_id}"
    _rabbitmqctl("add_vhost", name)
    try:
        _rabbitmqctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        yield f"amqp://guest:guest@127.0.0.1:5672/{name}"
    finally:
        _rabbitmqctl("delete_vhost", name)


@pytest.fixture(params=["redis", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def broker_kind(request: pytest.FixtureRequest) -> str:
    """Both brokers in turn; `parametrize("broker_kind", ["redis"])` keeps a test to one."""
    kind: str = request.param
    return kind


@pytest.fixture
def broker_url(broker_kind: str, request: pytest.FixtureRequest) -> str:
    """The URL of a broker with nothing in it."""
    if broker_kind == "redis":
        return str(request.getfixturevalue("redis_url"))
    url: str = request.getfixturevalue("amqp_url")
    request.getfixturevalue("empty_queues")(url)
    return url


@pytest.fixture
def empty_queues() -> Callable[[str], None]:
    """Deletes the engine's queues from a RabbitMQ virtual host."""
    from kombu import Connection

    def empty(url: str) -> None:
        with Connection(url, connect_timeout=3) as connection:
            for name in ("control", "steps", "webhooks", "sweeps"):
                connection.default_channel.queue_delete(name)

    return empty


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


def _rabbitmqctl(*arguments: str) -> None:
    subprocess.run(["rabbitmqctl", "-q", *arguments], check=True, capture_output=True, timeout=120)
