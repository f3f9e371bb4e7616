"""kill -9 of whatever works, with work under way: every run ends, and no invariant is broken."""

import os
import signal
from typing import Any

import pytest

from tests.crash.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.polling import poll
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.crash, pytest.mark.redis, pytest.mark.postgres, pytest.mark.timeout(180)]
RUNS = 50
STEPS = 7


def reached(deployment: Deployment, share: float) -> None:
    """Wait until this share of all steps has completed."""
    poll(lambda: deployment.done() >= share * RUNS * STEPS, 60, f"{share:.0%} of the steps")


def test_kills_of_every_process(deploy: Deploy, work: dict[str, Any]) -> None:
    """A worker's parent, a pool child, beat and the API, each in the middle of 50 runs."""
    deployment = deploy()
    deployment.worker("threads")
    deployment.worker("prefork", pool="prefork", concurrency=2)
    deployment.beat()
    deployment.api()
    for name in ("threads", "prefork", "api"):
        deployment.ready(name)
    deployment.define(work)
    ids = deployment.trigger_meanwhile("work", RUNS, 0.1)
    reached(deployment, 0.1)
    deployment.kill("threads")
    reached(deployment, 0.2)
    os.kill(deployment.children("prefork")[0], signal.SIGKILL)
    deployment.kill("api")
    reached(deployment, 0.3)
    deployment.kill("beat")
    deployment.kill("prefork")
    assert len(set(ids())) == RUNS
    deployment.all_ended(RUNS)


def test_flushes_of_the_broker(deploy: Deploy, work: dict[str, Any], own_redis: RedisServer) -> None:
    """Messages, chords and results are gone, three times; the rows are not."""
    deployment = deploy()
    deployment.worker("threads")
    deployment.beat()
    deployment.api()
    deployment.ready("api")
    deployment.ready("threads")
    deployment.define(work)
    ids = deployment.trigger_meanwhile("work", RUNS, 0.05)
    for share in (0.1, 0.3, 0.5):
        reached(deployment, share)
        own_redis.flush()
    ids()
    deployment.all_ended(RUNS)
