"""Webhooks through real workers and beats: whoever dies, each event is delivered, at least once, under one id."""

import json
import signal
import threading
import time
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import select

from models.webhook import WebhookDelivery
from orchestrator.core.redelivery import WAITS
from tests.crash.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.polling import poll
from tests.support.receiver import Receiver

pytestmark = [pytest.mark.crash, pytest.mark.redis, pytest.mark.postgres, pytest.mark.timeout(240)]
RUNS = 20
LOOPBACK = ("127.0.0.1",)


def define(deployment: Deployment, receiver: Receiver, work: dict[str, Any]) -> dict[str, Any]:
    """Runs that end at once, whose ends go to the receiver."""
    log = work["nodes"][0]["log"]
    deployment.define({"name": "quick", "nodes": [{"id": "only", "type": "probe", "log": log}]})
    body = {"url": receiver.url(), "events": ["run.completed"]}
    return deployment.post("/api/webhooks", body, "webhook")


def delivered(deployment: Deployment) -> Counter[str]:
    with deployment.database.read() as session:
        return Counter(session.scalars(select(WebhookDelivery.status)).all())


def all_delivered(deployment: Deployment, receiver: Receiver, runs: list[str], secret: str) -> None:
    """Every end came, each under one id, and nothing is left."""
    poll(lambda: delivered(deployment) == {"delivered": len(runs)}, 120, f"{len(runs)} deliveries")
    ids: dict[str, set[str]] = {}
    for got in receiver.received:
        body = json.loads(got.body)
        ids.setdefault(body["data"]["run_id"], set()).add(got.id)
    assert set(ids) == set(runs)
    assert all(len(found) == 1 for found in ids.values())
    receiver.received[-1].verified(secret)


@pytest.mark.parametrize("place", ["after_webhook_post", "after_webhook_taken"])
def test_a_worker_that_dies_with_a_webhook(
    place: str, deploy: Deploy, work: dict[str, Any], receiver: Receiver
) -> None:
    deployment = deploy(lease_seconds=1.0, sweep_seconds=0.25, http_allow=LOOPBACK)
    deployment.worker("mortal", ORCHESTRATOR_CRASH_AT=place)
    deployment.api()
    deployment.ready("mortal")
    deployment.ready("api")
    made = define(deployment, receiver, work)
    runs = deployment.trigger("quick", RUNS)
    poll(lambda: deployment.program("mortal").ended() == -9, 60, f"the death at {place}")
    deployment.worker("immortal")
    deployment.all_ended(RUNS)
    all_delivered(deployment, receiver, runs, made["secret"])
    if place == "after_webhook_post":
        assert len(receiver.received) > RUNS  # what had come is sent again


def test_kills_of_workers_and_beat_lose_no_webhook(deploy: Deploy, work: dict[str, Any], receiver: Receiver) -> None:
    deployment = deploy(lease_seconds=2.0, sweep_seconds=0.25, http_allow=LOOPBACK)
    deployment.worker("one")
    deployment.worker("two", pool="prefork", concurrency=2)
    deployment.beat()
    deployment.api()
    for name in ("one", "two", "api"):
        deployment.ready(name)
    made = define(deployment, receiver, work)
    runs = deployment.trigger("quick", RUNS)
    for count, name in enumerate(("beat", "one", "two", "beat"), start=1):
        receiver.came(3 * count)
        deployment.kill(name)
    deployment.all_ended(len(runs))
    all_delivered(deployment, receiver, runs, made["secret"])


def test_27_hours_of_failures_and_a_replay(deploy: Deploy, work: dict[str, Any], receiver: Receiver) -> None:
    """The whole schedule in seconds, by the clock of due times; the alert goes to another endpoint."""
    deployment = deploy(clock_speed=10_000.0, sweep_seconds=0.25, http_allow=LOOPBACK)
    deployment.worker("one")
    deployment.api()
    deployment.ready("one")
    deployment.ready("api")
    made = define(deployment, receiver, work)
    receiver.answer(500)
    (run,) = deployment.trigger("quick", 1)
    got = receiver.came(len(WAITS), 120)
    poll(lambda: delivered(deployment) == {"dead": 1}, 30, "the dead letter")
    assert len({each.id for each in got}) == 1
    virtual = deployment.deps.clock.real(1.0)
    waits = [(later.at - sooner.at) / virtual for sooner, later in pairwise(got)]
    assert all(wait >= least * 0.89 for wait, least in zip(waits, WAITS[1:], strict=True)), waits
    receiver.answer(200)
    path = f"/api/webhooks/{made['id']}/deliveries/{got[0].id}/replay"
    deployment.post(path, {}, "replay")
    all_delivered(deployment, receiver, [run], made["secret"])


def test_a_worker_that_is_told_to_end_begins_no_other_webhook(
    deploy: Deploy, work: dict[str, Any], receiver: Receiver
) -> None:
    """It ends when the POSTs that hang have; the others are another worker's."""
    deployment = deploy(lease_seconds=2.0, sweep_seconds=0.25, http_allow=LOOPBACK)
    deployment.worker("one")
    deployment.api()
    deployment.ready("one")
    deployment.ready("api")
    made = define(deployment, receiver, work)
    receiver.held = threading.Event()
    runs = deployment.trigger("quick", RUNS)
    deployment.all_ended(RUNS)
    receiver.came(5)
    assert deployment.program("one").stop(25) == 0
    assert len(receiver.received) == 5
    receiver.held.set()
    deployment.worker("two")
    all_delivered(deployment, receiver, runs, made["secret"])


def test_a_worker_of_processes_that_is_told_to_end_ends_its_posts(
    deploy: Deploy, work: dict[str, Any], receiver: Receiver
) -> None:
    """Its processes wait for the POSTs that hang: nothing is sent twice for an orderly end."""
    deployment = deploy(lease_seconds=2.0, sweep_seconds=0.25, http_allow=LOOPBACK)
    deployment.worker("one", pool="prefork", concurrency=2)
    deployment.api()
    deployment.ready("one")
    deployment.ready("api")
    made = define(deployment, receiver, work)
    receiver.held = threading.Event()
    runs = deployment.trigger("quick", RUNS)
    deployment.all_ended(RUNS)
    receiver.came(5)
    one, until = deployment.program("one"), time.monotonic() + 5  # the processes end within 2 s
    one.signal(signal.SIGTERM)
    poll(lambda: one.ended() is not None or time.monotonic() > until, 10)
    receiver.held.set()
    poll(lambda: one.ended() == 0, 30, "the end of the worker")
    deployment.worker("two")
    all_delivered(deployment, receiver, runs, made["secret"])
    assert len(receiver.received) == RUNS
