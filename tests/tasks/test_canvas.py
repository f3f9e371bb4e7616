"""What goes over the wire: one flat group, or one chord of one level, by ids alone."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Connection
from sqlalchemy import select

from models.database import Database
from models.event import Event
from models.queries import lanes
from models.run import Run
from models.step import Step
from orchestrator.services import consumers
from orchestrator.settings import Settings
from tests.support.brokers import EACH_ONCE
from tests.support.polling import poll
from tests.support.processes import StartProgram, StartWorker
from tests.support.redis_server import RedisServer

JOIN = {
    "name": "join",
    "nodes": [{"id": name, "type": "slow_probe"} for name in ("a", "b", "c", "after")],
    "edges": ["[a, b, c] >> after"],
}
FAN = {
    "name": "fan",
    "nodes": [{"id": "first", "type": "noop"}, *({"id": f"n{n}", "type": "slow_probe"} for n in range(5))],
    "edges": ["first >> [n0, n1, n2, n3, n4]"],
}
Start = Callable[..., str]


@pytest.fixture
def start(programs: StartProgram, tmp_path: Path) -> Start:
    """`start(settings, definition) -> run_id`, from a process of its own."""

    def begin(settings: Settings, definition: dict[str, Any]) -> str:
        file = tmp_path / f"{definition['name']}.json"
        file.write_text(json.dumps(definition))
        program = programs(settings, "-m", "tests.support.starter", str(file))
        program.wait_until(f"{definition['name']} ", 30)
        return program.log().split(f"{definition['name']} ")[1].split()[0]

    return begin


def messages(url: str, queue: str = "steps") -> list[Any]:
    """Take all messages of a queue off the broker."""
    found = []
    with Connection(url) as connection:
        channel = connection.default_channel
        while (message := channel.basic_get(queue, no_ack=True)) is not None:
            found.append(channel.message_to_python(message))
    return found


def status(database: Database, run_id: str) -> str:
    with database.read() as session:
        return session.execute(select(Run.status).where(Run.id == run_id)).scalar_one()


def count(database: Database, run_id: str, kind: str, step: str) -> int:
    with database.read() as session:
        rows = select(Event.seq).where(Event.run_id == run_id, Event.type == kind, Event.step == step)
        return len(session.execute(rows).all())


def moment(database: Database, run_id: str, kind: str, step: str) -> float:
    with database.read() as session:
        rows = select(Event.at).where(Event.run_id == run_id, Event.type == kind, Event.step == step)
        return session.execute(rows.order_by(Event.seq.desc())).scalars().first().timestamp()


@pytest.mark.redis
@pytest.mark.parametrize("broker_kind", ["redis"])
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_three_slow_steps_into_one_join_are_one_chord(stack: Settings, start: Start) -> None:
    run_id = start(stack, JOIN)
    found = messages(stack.broker)
    assert sorted(message.payload[0][1] for message in found) == ["a", "b", "c"]
    bodies = [message.payload[2]["chord"] for message in found]
    assert {body["task"] for body in bodies} == {"orchestrator.advance"}
    assert {tuple(body["args"][:2]) for body in bodies} == {(run_id, "after")}
    assert len({message.headers["group"] for message in found}) == 1


@EACH_ONCE
def test_five_steps_without_a_common_join_are_one_group(stack: Settings, start: Start) -> None:
    start(stack, FAN)
    found = messages(stack.broker)
    assert len(found) == 5
    assert [message.payload[2]["chord"] for message in found] == [None] * 5
    groups = {message.headers["group"] for message in found}
    assert len(groups) == 1
    assert None not in groups


@pytest.mark.rabbitmq
@pytest.mark.parametrize("broker_kind", ["rabbitmq"])
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_without_a_native_join_the_wave_is_a_group(stack: Settings, start: Start) -> None:
    start(replace(stack, result_backend=None), JOIN)
    found = messages(stack.broker)
    assert [message.payload[2]["chord"] for message in found] == [None] * 3


@EACH_ONCE
def test_the_body_alone_carries_the_join_on(
    stack: Settings, start: Start, workers: StartWorker, database: Database
) -> None:
    unswept = replace(stack, sweep_seconds=900.0, lease_seconds=1000.0)
    workers(unswept)
    run_id = start(unswept, JOIN)
    poll(lambda: status(database, run_id) == "success", 20, "the run's end")
    assert count(database, run_id, "step.started", "after") == 1


@pytest.mark.parametrize("broker_kind", ["redis"])
@pytest.mark.parametrize(
    "last",
    [[{"fail": "NETWORK"}, {"succeed": {}}], {"wait": "a timer", "seconds": 0.5}],
    ids=["retry", "park"],
)
def test_a_member_that_leaves_its_chord_does_not_hold_up_the_join(
    stack: Settings, start: Start, workers: StartWorker, database: Database, last: Any
) -> None:
    """With sweeps off, the next step starts within 200 ms of the last member's end."""
    nodes = [*JOIN["nodes"][:2], {"id": "c", "type": "slow_probe", "does": last}, JOIN["nodes"][3]]  # type: ignore[index]
    nodes[2]["retry"] = {"max_attempts": 2, "initial": "500ms", "jitter": 0}
    unswept = replace(stack, sweep_seconds=900.0, lease_seconds=1000.0)
    workers(unswept)
    run_id = start(unswept, {**JOIN, "name": "leaving", "nodes": nodes})
    poll(lambda: status(database, run_id) == "success", 20, "the run's end")
    waited = moment(database, run_id, "step.started", "after") - moment(
        database, run_id, "step.completed", "c"
    )
    assert waited <= 0.2


def test_a_flushed_chord_delays_its_join_by_seconds(
    settings: Settings,
    own_redis: RedisServer,
    start: Start,
    workers: StartWorker,
    programs: StartProgram,
    database: Database,
    tmp_path: Path,
) -> None:
    url = own_redis.url()
    stack = replace(settings, broker_url=url, result_backend=url, lease_seconds=10.0, sweep_seconds=1.0)
    workers(stack)
    programs(stack, "-m", "celery", "-A", "tasks.app", "beat", "-s", str(tmp_path / "beat"))
    nodes = [{**node, "does": {"sleep": 1.5}} for node in JOIN["nodes"][:3]]  # type: ignore[index]
    run_id = start(stack, {**JOIN, "name": "flushed", "nodes": [*nodes, JOIN["nodes"][3]]})  # type: ignore[index]
    poll(lambda: _running(database, run_id) == 3, 10, "three members at work")
    with redis.Redis.from_url(url) as client:
        client.flushall()
    poll(lambda: status(database, run_id) == "success", 30, "the run's end")
    decided = max(moment(database, run_id, "step.completed", name) for name in "abc")
    assert moment(database, run_id, "step.started", "after") - decided <= 5.0


def _running(database: Database, run_id: str) -> int:
    with database.read() as session:
        rows = session.execute(select(Step.no).where(Step.run_id == run_id, Step.status == "running"))
        return len(rows.all())


@EACH_ONCE
def test_steps_that_prove_to_be_cheap_travel_together(
    stack: Settings, start: Start, workers: StartWorker, database: Database
) -> None:
    """What a worker found out, the process that starts the next run has heard of by then."""
    nodes = [{"id": f"n{n}", "type": "nothing"} for n in range(70)]
    stack = replace(stack, dispatch_window=100)
    worker = workers(stack)

    def cheap() -> bool:
        with database.read() as session:
            return "nothing" in lanes.cheap_types(session, consumers.SEEN_SECONDS)

    first = start(stack, {"name": "first", "nodes": nodes})
    poll(lambda: status(database, first) == "success", 30, "the first run's end")
    poll(cheap, 30, "the type to be known as cheap")
    worker.kill()
    start(stack, {"name": "second", "nodes": nodes})
    found = messages(stack.broker)
    assert [message.headers["task"] for message in found] == ["orchestrator.steps"] * 2
    assert [len(message.payload[0][1]) for message in found] == [64, 6]
