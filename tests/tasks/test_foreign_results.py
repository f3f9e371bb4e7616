"""Foreign tasks over real brokers and result backends: what is published, and what results are read as."""

import json
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import redis
from celery import Celery
from kombu import Connection
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError

from models.errors import UnavailableError
from orchestrator.ports import ForeignCall, ForeignError, ForeignValue
from tasks.foreign import CeleryTasks
from tests.support.redis_server import RedisServer

ID = "run:step:1"
# Celery's Redis backend writes by a call that redis-py has given another name.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")


def call(**changes: Any) -> ForeignCall:
    given: dict[str, Any] = {
        "task_id": ID,
        "name": "reports.build",
        "args": ["acme"],
        "kwargs": {"pages": 3},
        "queue": "reports",
        "headers": {"idempotency_key": "run:step"},
        "expires": 60.0,
        "wakes": ("run", 4, 1),
    }
    return ForeignCall(**given | changes)


def application(broker: str, results: str) -> Celery:
    return Celery("test", broker=broker, backend=results, set_as_current=False)


@pytest.fixture
def app(broker_url: str, redis_url: str) -> Iterator[Celery]:
    """An application of the two servers, as ours and as theirs."""
    found = application(broker_url, redis_url)
    yield found
    found.close()


@pytest.fixture
def tasks(app: Celery) -> CeleryTasks:
    return CeleryTasks(app=lambda: app)


def take(url: str, queue: str = "reports") -> Any:
    """The only message of a queue."""
    with Connection(url) as connection:
        found = connection.default_channel.basic_get(queue, no_ack=True)
        assert found is not None
        assert connection.default_channel.basic_get(queue, no_ack=True) is None
        return connection.default_channel.message_to_python(found)


def test_the_message_keeps_its_result_and_wakes_us_by_name(
    app: Celery, tasks: CeleryTasks, broker_url: str
) -> None:
    tasks.send(call())
    message = take(broker_url)
    args, kwargs, embedded = message.payload
    assert (args, kwargs) == (["acme"], {"pages": 3})
    assert (message.headers["id"], message.headers["task"]) == (ID, "reports.build")
    assert message.headers["ignore_result"] is False
    assert message.headers["idempotency_key"] == "run:step"
    assert datetime.fromisoformat(message.headers["expires"]) > datetime.now(UTC)
    assert "acme" not in message.headers["argsrepr"]
    assert embedded["callbacks"] == embedded["errbacks"]
    (wake,) = embedded["callbacks"]
    assert (wake["task"], wake["args"], wake["immutable"]) == ("orchestrator.answered", ["run", 4, 1], True)
    place = {"exchange": "control", "routing_key": "control"}
    assert wake["options"] == place | {"serializer": "json", "ignore_result": True}
    assert app.backend.result_consumer._pubsub is None, "nobody subscribes to a result"


@pytest.mark.rabbitmq
@pytest.mark.parametrize("broker_kind", ["rabbitmq"])
def test_a_queue_of_their_own_making_is_used_as_it_is(tasks: CeleryTasks, broker_url: str) -> None:
    theirs = Queue("special", Exchange("special"), routing_key="special", max_priority=5)
    with Connection(broker_url) as connection:
        theirs(connection.default_channel).declare()
    tasks.send(call(queue="special"))
    assert take(broker_url, "special").headers["id"] == ID


@pytest.mark.parametrize("broker_kind", ["redis"])
@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({"rows": [1, 2.5, None, "ü"]}, {"rows": [1, 2.5, None, "ü"]}),
        (None, None),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02 00:00:00+00:00"),
        ([UUID(int=1), Decimal("1.50")], ["00000000-0000-0000-0000-000000000001", "1.50"]),
    ],
)
def test_a_return_value_is_read_as_json(app: Celery, tasks: CeleryTasks, value: Any, read: Any) -> None:
    app.backend.store_result(ID, value, "SUCCESS")
    assert tasks.result(ID) == ForeignValue(value=read)
    tasks.forget(ID)
    assert tasks.result(ID) is None


class OddError(Exception):
    """Of a class that the reader could not build again."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(code, {"why": why})


@pytest.mark.parametrize("broker_kind", ["redis"])
@pytest.mark.parametrize(
    ("raised", "name", "message"),
    [
        (LookupError("no such account"), "LookupError", "no such account"),
        (OddError(7, "x"), "OddError", '7, {"why": "x"}'),
        (ValueError(), "ValueError", ""),
        (SystemExit(3), "SystemExit", "3"),
        (OperationalError("Error 111"), "OperationalError", "Error 111"),
    ],
)
def test_an_exception_is_read_by_its_names_alone(
    app: Celery, tasks: CeleryTasks, raised: BaseException, name: str, message: str
) -> None:
    app.backend.mark_as_failure(ID, raised)
    module = type(raised).__module__
    assert tasks.result(ID) == ForeignError(name=name, module=module, message=message)


@pytest.mark.parametrize("broker_kind", ["redis"])
@pytest.mark.parametrize("state", ["PENDING", "STARTED", "RETRY", "PROGRESS"])
def test_what_has_not_ended_is_no_result(app: Celery, tasks: CeleryTasks, state: str) -> None:
    app.backend.store_result(ID, {"half": True}, state)
    assert tasks.result(ID) is None


@pytest.mark.parametrize("broker_kind", ["redis"])
def test_a_task_that_somebody_revoked_has_failed(app: Celery, tasks: CeleryTasks) -> None:
    app.backend.mark_as_revoked(ID, "terminated")
    found = tasks.result(ID)
    assert isinstance(found, ForeignError)
    assert (found.name, found.message) == ("TaskRevokedError", "terminated")


@pytest.mark.parametrize("broker_kind", ["redis"])
@pytest.mark.parametrize(
    "stored", [pickle.dumps({"status": "SUCCESS", "result": 1}), b"{", b"[1]", b"[" * 100_000]
)
def test_a_result_that_is_no_json_has_failed(tasks: CeleryTasks, redis_url: str, stored: bytes) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.set(f"celery-task-meta-{ID}", stored)
    found = tasks.result(ID)
    assert isinstance(found, ForeignError)
    assert (found.name, "result_serializer" in found.message) == ("ResultNotReadable", True)


def test_results_of_a_database_are_read_too(tmp_path: Path) -> None:
    app = application("memory://", f"db+sqlite:///{tmp_path / 'results.db'}")
    tasks = CeleryTasks(app=lambda: app)
    assert tasks.result(ID) is None
    app.backend.mark_as_failure(ID, LookupError("no such account"))
    found = tasks.result(ID)
    assert found == ForeignError(name="LookupError", module="builtins", message="no such account")
    app.backend.store_result("other", {"rows": 1}, "SUCCESS")
    assert tasks.result("other") == ForeignValue(value={"rows": 1})


def test_servers_that_are_gone_are_unavailable(own_redis: RedisServer) -> None:
    app = application(own_redis.url(), own_redis.url())
    app.conf.update(redis_retry_on_timeout=False, redis_socket_connect_timeout=1)
    tasks = CeleryTasks(app=lambda: app)
    tasks.send(call())
    own_redis.kill()
    for act in (
        lambda: tasks.send(call()),
        lambda: tasks.revoke(ID),
        lambda: tasks.forget(ID),
        lambda: tasks.result(ID),
    ):
        with pytest.raises(UnavailableError):
            act()
    with pytest.raises(UnavailableError, match="a moment ago"):
        tasks.result("other")


def test_a_connection_that_died_in_the_pool_is_replaced(own_redis: RedisServer) -> None:
    app = application(own_redis.url(), own_redis.url())
    tasks = CeleryTasks(app=lambda: app)
    tasks.send(call())
    with redis.Redis.from_url(own_redis.url()) as client:
        client.flushall()
        client.client_kill_filter(_type="normal", skipme=True)
    tasks.send(call(args=[json.dumps({"second": True})]))
    assert take(own_redis.url()).payload[0] == ['{"second": true}']
