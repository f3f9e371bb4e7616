"""Waves over the wire: what arrives is what Celery's own group would have sent."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Connection

from orchestrator.settings import Settings
from tests.support.programs import environ
from tests.support.redis_server import RedisServer

_PUBLISH = """
import json, sys
from celery import Signature, group
import tasks.steps
from tasks.app import app
from tasks.publishing import Outgoing, publish_many

way, given = sys.argv[1], json.loads(sys.argv[2])
if way == "ours":
    publish_many(app, [Outgoing(task=task, args=tuple(args), queue=queue) for task, queue, args in given])
elif way == "group":
    group([Signature(task, args=args, immutable=True, app=app, options={"queue": queue})
           for task, queue, args in given], app=app).apply_async()
"""
pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])
_OWN = ("id", "root_id", "group", "origin", "argsrepr", "kwargsrepr")
Publish = Callable[..., None]


@pytest.fixture
def publish(stack: Settings) -> Publish:
    """`publish(way, messages)`, from a process of its own."""

    def begin(way: str, given: list[tuple[str, str, list[Any]]]) -> None:
        line = [sys.executable, "-c", _PUBLISH, way, json.dumps(given)]
        root = Path(__file__).parents[2]
        subprocess.run(line, env=os.environ | environ(stack), cwd=root, check=True, timeout=60)

    return begin


def taken(url: str, queue: str) -> list[Any]:
    """All messages of a queue, taken off the broker, in order."""
    found = []
    with Connection(url) as connection:
        channel = connection.default_channel
        while (message := channel.basic_get(queue, no_ack=True)) is not None:
            found.append(channel.message_to_python(message))
    return found


def shape(message: Any) -> tuple[Any, ...]:
    """All of a message that is not its own, and is read: `reply_to` is for results by RPC."""
    headers = {name: value for name, value in message.headers.items() if name not in _OWN}
    ids = {message.headers["id"], message.headers["root_id"], message.properties["correlation_id"]}
    return (
        message.payload,
        headers,
        len(ids),
        message.headers["group"] is None,
        message.content_type,
        message.content_encoding,
        message.properties.get("delivery_mode"),
        message.properties.get("delivery_info"),
    )


def test_messages_are_what_celery_would_send(publish: Publish, stack: Settings) -> None:
    given = [("orchestrator.step", "steps", ["run", f"node_{no}", no, 1]) for no in range(3)]
    given.append(("orchestrator.look", "control", ["run", "node_9", 9, 2]))
    publish("group", given)
    celerys = {queue: taken(stack.broker, queue) for queue in ("steps", "control")}
    publish("ours", given)
    ours = {queue: taken(stack.broker, queue) for queue in ("steps", "control")}
    for queue, count in (("steps", 3), ("control", 1)):
        assert len(ours[queue]) == count
        assert [shape(message) for message in ours[queue]] == [shape(message) for message in celerys[queue]]
    everything = ours["steps"] + ours["control"]
    assert len({message.headers["id"] for message in everything}) == 4
    assert len({message.headers["group"] for message in everything}) == 1


def test_a_single_message_is_no_group(publish: Publish, stack: Settings) -> None:
    publish("ours", [("orchestrator.step", "steps", ["run", "only", 0, 1])])
    (only,) = taken(stack.broker, "steps")
    assert (only.headers["group"], only.headers["group_index"]) == (None, None)
    assert only.payload[0] == ["run", "only", 0, 1]


@pytest.mark.redis
@pytest.mark.parametrize("broker_kind", ["redis"])
def test_a_wave_is_one_round_trip(publish: Publish, stack: Settings, redis_server: RedisServer) -> None:
    """Redis counts reads of its sockets, not commands: a pipeline of 300 is a few."""
    publish("ours", [("orchestrator.step", "steps", ["run", "warm", 0, 1])])
    with redis.Redis.from_url(stack.broker) as client:
        began = client.info("stats")["total_reads_processed"]
        publish("ours", [("orchestrator.step", "steps", ["run", f"n{no}", no, 1]) for no in range(300)])
        reads = client.info("stats")["total_reads_processed"] - began
        assert client.llen("steps") == 301
    assert reads < 60
