"""What becomes of a step whose worker is gone, or only seems to be."""

import signal
from typing import Any

import pytest

from tests.crash.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.polling import poll

pytestmark = [pytest.mark.crash, pytest.mark.redis, pytest.mark.postgres, pytest.mark.timeout(120)]


def at_work(deployment: Deployment, run_id: str, step: str) -> bool:
    return len(deployment.moments(run_id, "step.started", step)) > 0


def test_the_steps_of_a_killed_worker_go_on_within_15_seconds(deploy: Deploy, work: dict[str, Any]) -> None:
    """With the leases and sweeps of a deployment that sets neither."""
    work["nodes"][0]["does"] = [{"sleep": 60, "succeed": "too late"}, {"succeed": {"a": 2}}]
    deployment = deploy(lease_seconds=10.0, sweep_seconds=1.0)
    deployment.worker("first")
    deployment.beat()
    deployment.api()
    deployment.ready("first")
    deployment.ready("api")
    deployment.define(work)
    run_ids = deployment.trigger("work", 4)
    for run_id in run_ids:
        poll(lambda run_id=run_id: at_work(deployment, run_id, "a"), 20, "the step's start")
    deployment.kill("first")
    killed = max(deployment.moments(run_id, "step.started", "a")[0] for run_id in run_ids)
    deployment.all_ended(4)
    for run_id in run_ids:
        started = deployment.moments(run_id, "step.started", "a")
        assert len(started) == 2
        assert started[1] - killed <= 15.0
        for name in ("a", "b", "c", "d", "e", "f"):
            assert len(deployment.moments(run_id, "step.completed", name)) == 1, name


def test_a_worker_that_wakes_up_after_its_lease(deploy: Deploy, work: dict[str, Any]) -> None:
    """Stopped in the middle of its bodies; what it brings later moves nothing."""
    work["nodes"][0]["does"] = {"sleep": 1.0, "succeed": {"a": True}}
    deployment = deploy()
    deployment.worker("zombie")
    deployment.beat()
    deployment.api()
    deployment.ready("zombie")
    deployment.ready("api")
    deployment.define(work)
    run_ids = deployment.trigger("work", 4)
    poll(lambda: all(at_work(deployment, run_id, "a") for run_id in run_ids), 20, "four bodies at work")
    zombie = deployment.program("zombie")
    zombie.signal(signal.SIGSTOP)
    deployment.worker("other")
    deployment.ready("other")
    poll(lambda: deployment.statuses() == {"success": 4}, 40, "four runs carried on by the other one")
    zombie.signal(signal.SIGCONT)
    poll(lambda: "fenced out" in zombie.log() or "given up" in zombie.log(), 20, "the zombie's late outcome")
    deployment.all_ended(4)
