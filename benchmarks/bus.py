"""`python -m benchmarks.bus`: events a second to and from each event bus, and through the sweep that feeds it.

publish: batches of 500 by the driver. follow: one subscriber with a handler that does nothing. feed: runs' events from
a PostgreSQL of its own through the sweep to the bus.
"""

import argparse
import json
import threading
import time
import uuid

from benchmarks.streams import _postgresql
from models import schema
from models.database import Database
from orchestrator.bus import BusParts, EventBus, Message
from orchestrator.registry import make_bus
from orchestrator.services import bus_feed
from orchestrator.services.subscribing import Follower
from orchestrator.settings import Settings
from tests.support import engine

EVENTS, BATCH, RUNS = 10_000, 500, 200
URLS = {
    "in process": "memory://",
    "Redis": "redis://127.0.0.1:6379/13",
    "NATS": f"nats://127.0.0.1:4222/bench-{uuid.uuid4().hex[:8]}",
    "RabbitMQ": "amqp://guest:guest@127.0.0.1:5672/",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bus", description=__doc__)
    parser.add_argument("--database", default="postgresql://postgres@127.0.0.1:5432/postgres")
    given = parser.parse_args()
    print("| bus | publish /s | follow /s | feed /s | feed, a second of CPU |\n| --- | --- | --- | --- | --- |")
    for name, url in URLS.items():
        bus = make_bus(BusParts(settings=Settings(), url=url))
        published, followed = both(bus)
        with _postgresql(given.database) as database:
            schema.upgrade(database)
            fed, cpu = feed(bus, database)
        bus.close()
        print(f"| {name} | {published:.0f} | {followed:.0f} | {fed:.0f} | {cpu:.0f} |", flush=True)


def both(bus: EventBus) -> tuple[float, float]:
    """Events a second published, and followed by one subscriber afterwards."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    bus.subscribe(name).close()
    sent = [said(number) for number in range(1, EVENTS + 1)]
    began = time.monotonic()
    for place in range(0, EVENTS, BATCH):
        bus.publish(sent[place : place + BATCH])
    published = time.monotonic() - began
    stop, count = threading.Event(), 0

    def handle(_message: Message) -> None:
        nonlocal count
        count += 1
        if count == EVENTS:
            stop.set()

    began = time.monotonic()
    Follower(bus=bus, name=name, types=("*",), handler=handle, stop=stop).follow()
    followed = time.monotonic() - began
    bus.remove(name)
    return EVENTS / published, EVENTS / followed


def feed(bus: EventBus, url: str) -> tuple[float, float]:
    """Events from the journal to the bus: a second, and a second of this process's CPU."""
    database = Database(url)
    made = engine.make(database)
    made.deps.__dict__["bus"] = bus
    nodes = [{"id": f"n{number}", "type": "noop"} for number in range(10)]
    made.publish({"name": "work", "nodes": nodes, "edges": [" >> ".join(f"n{n}" for n in range(10))]})
    bus_feed.feed(made.deps)
    for _ in range(RUNS):
        made.run("work")
    began, own, events = time.monotonic(), time.process_time(), 0
    while found := bus_feed.feed(made.deps).found:
        events += found
    seconds, own = time.monotonic() - began, time.process_time() - own
    made.deps.__dict__.pop("bus")
    made.deps.close()
    return events / seconds, events / own


def said(number: int) -> Message:
    """An event of ordinary size."""
    run = f"00000000-0000-7000-8000-{number % 50:012}"
    data = {"attempt": 1, "duration_ms": 12, "output": {"text": "x" * 120}}
    event = {"seq": number, "type": "step.completed", "run_id": run, "step": "score", "data": data}
    body = json.dumps({**event, "workspace_id": run})
    once = f"{run}:{number}:{uuid.uuid4().hex[:6]}"
    return Message(id=once, type="step.completed", workspace_id=run, run_id=run, body=body)


if __name__ == "__main__":
    main()
