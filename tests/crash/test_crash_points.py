"""A worker that dies at a named place of its work (spec "reliability" §6), while another one lives."""

from typing import Any

import pytest

from tests.crash.conftest import Deploy
from tests.support.polling import poll
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.crash, pytest.mark.redis, pytest.mark.postgres, pytest.mark.timeout(120)]
RUNS = 10
DEATHS = 2


@pytest.mark.parametrize("place", ["after_claim", "after_effect", "before_commit", "after_commit"])
def test_a_worker_that_dies_at(place: str, deploy: Deploy, work: dict[str, Any]) -> None:
    deployment = deploy(lease_seconds=1.0, sweep_seconds=0.25)
    deployment.worker("mortal", ORCHESTRATOR_CRASH_AT=place)
    deployment.api()
    deployment.ready("mortal")
    deployment.ready("api")
    deployment.define(work)
    deployment.trigger("work", RUNS)
    poll(lambda: deployment.program("mortal").ended() == -9, 30, f"the death at {place}")
    deployment.worker("mortal", ORCHESTRATOR_CRASH_AT=place)
    poll(lambda: deployment.program("mortal").ended() == -9, 30, f"another death at {place}")
    deployment.worker("immortal")
    deployment.all_ended(RUNS)


def test_a_worker_that_dies_in_mid_sweep(
    deploy: Deploy, work: dict[str, Any], own_redis: RedisServer
) -> None:
    """It took the unsent steps, and none was sent."""
    deployment = deploy(lease_seconds=1.0, sweep_seconds=0.25)
    deployment.api()
    deployment.ready("api")
    deployment.define(work)
    deployment.trigger("work", RUNS)
    own_redis.flush()
    deployment.worker("mortal", ORCHESTRATOR_CRASH_AT="mid_sweep")
    poll(lambda: deployment.program("mortal").ended() == -9, 40, "the death in mid sweep")
    assert deployment.done() == 0
    deployment.worker("immortal")
    deployment.all_ended(RUNS)
