"""A worker that dies at a named place of its work (spec "reliability" §6), while another one lives."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.batches import SIZE
from tests.crash.conftest import Deploy
from tests.support.polling import poll
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.crash, pytest.mark.redis, pytest.mark.postgres, pytest.mark.timeout(120)]
RUNS = 10
DEATHS = 2
LAYERS, WIDTH = 5, 20


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


@pytest.mark.parametrize("place", ["after_claim", "after_effect", "before_commit", "after_commit"])
def test_a_worker_that_dies_in_a_batch_at(place: str, deploy: Deploy, tmp_path: Path) -> None:
    """The type has proved to be cheap by then: what is repeated is not more than a batch, each under its key."""
    deployment = deploy(lease_seconds=1.0, sweep_seconds=0.25)
    deployment.worker("immortal")
    deployment.api()
    deployment.ready("immortal")
    deployment.ready("api")
    log = tmp_path / "effects.log"
    deployment.define(_layers(str(log)))
    deployment.trigger("work", 2)
    deployment.all_ended(2)
    deployment.program("immortal").kill()
    deployment.trigger("work", 4)  # two of them are there
    deployment.worker("mortal", ORCHESTRATOR_CRASH_AT=place)
    poll(lambda: deployment.program("mortal").ended() == -9, 30, f"the death at {place}")
    deployment.worker("another")
    deployment.all_ended(4)
    effects = [line.split() for line in log.read_text().splitlines()]
    once = {(run, path, key) for run, path, _, key, _ in effects}
    assert len(once) == 4 * LAYERS * WIDTH, "each step has one key"
    assert len(effects) - len(once) <= 2 * SIZE


def _layers(log: str) -> dict[str, Any]:
    """Layers of probes that take no time, each after two of the layer before."""
    nodes = [
        {"id": f"n{layer}_{place}", "type": "probe", "log": log}
        for layer in range(LAYERS)
        for place in range(WIDTH)
    ]
    edges = [
        {"from": f"n{layer - 1}_{(place + by) % WIDTH}", "to": f"n{layer}_{place}"}
        for layer in range(1, LAYERS)
        for place in range(WIDTH)
        for by in range(2)
    ]
    return {"name": "work", "nodes": nodes, "edges": edges}


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
