"""Runs that wait for people and signals for weeks of virtual time, while everything is restarted."""

from typing import Any

import pytest
from sqlalchemy import select

from models.approval import Approval
from models.signal import AwaitedSignal
from models.step import Step
from tests.crash.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.polling import poll
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.crash, pytest.mark.redis, pytest.mark.postgres, pytest.mark.timeout(240)]
SPEED = 50_000.0  # 14 days pass in 24 s
DAY = 86_400.0


def define(deployment: Deployment, work: dict[str, Any]) -> None:
    """A run that waits for a person, a signal and a time at once."""
    log = work["nodes"][0]["log"]
    nodes = [
        {"id": "before", "type": "probe", "log": log},
        {"id": "ask", "type": "approval", "title": "Go on?", "expires": "900d", "required": 2},
        {"id": "sign", "type": "signal", "signal": "signed", "key": "{{run.id}}", "expires": "900d"},
        {"id": "wait", "type": "wait", "duration": "14d"},
        {"id": "after", "type": "probe", "log": log},
    ]
    edges = ["before >> [ask, sign, wait] >> after"]
    deployment.define({"name": "office", "nodes": nodes, "edges": edges})


def start(deployment: Deployment) -> None:
    deployment.worker("one")
    deployment.worker("two", pool="prefork", concurrency=2)
    deployment.beat()
    deployment.api()
    for name in ("one", "two", "api"):
        deployment.ready(name)


def asked(deployment: Deployment) -> str | None:
    """The approval, once all three are parked."""
    with deployment.database.read() as session:
        waiting = session.scalars(select(Step).where(Step.status == "waiting")).all()
        approval = session.scalars(select(Approval.id)).first()
        listening = session.scalars(select(AwaitedSignal)).first()
    return approval if len(waiting) == 3 and listening is not None else None


def test_14_days_on_an_approval_and_everything_restarted_in_between(
    deploy: Deploy, work: dict[str, Any], own_redis: RedisServer
) -> None:
    deployment = deploy(clock_speed=SPEED)
    start(deployment)
    define(deployment, work)
    (run_id,) = deployment.trigger("office", 1)
    approval = poll(lambda: asked(deployment), 60, "three parked steps")
    parked_at = deployment.deps.clock.now()
    link = deployment.post(f"/api/approvals/{approval}/links", {"name": "ada"}, "link")
    first = deployment.post(f"/api/approval-links/{link['token']}/approve", {"data": {"n": 0}}, "by link")
    for name in ("api", "beat", "two", "one"):
        deployment.program(name).kill()
        deployment.end(name)
    own_redis.flush()
    start(deployment)
    poll(lambda: deployment.deps.clock.now() > parked_at + 14 * DAY, 60, "14 virtual days")
    deployment.post(f"/api/approvals/{approval}/approve", {"data": {"n": 1}}, "vote")
    assert first["status"] == "pending"
    sent = {"signal": "signed", "key": run_id, "data": "here", "id": "n-1"}
    assert deployment.post("/api/signals", sent, "signal")["run_id"] == run_id
    deployment.all_ended(1)
    (began,) = deployment.moments(run_id, "step.waiting", "wait")
    (ended,) = deployment.moments(run_id, "step.completed", "wait")
    assert ended - began >= 14 * DAY / SPEED - 0.01
