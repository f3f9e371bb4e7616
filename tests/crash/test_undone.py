"""Runs that undo what they have done, through workers that die amid it (spec "reliability" §6)."""

from typing import Any

import pytest

from tests.crash.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.polling import poll

pytestmark = [pytest.mark.crash, pytest.mark.redis, pytest.mark.postgres, pytest.mark.timeout(120)]
RUNS = 5
UNDONE = ["c:compensate", "b:compensate", "a:compensate"]


def define(deployment: Deployment, work: dict[str, Any]) -> None:
    """Three steps, each with its undoing, and one that fails."""
    log = work["nodes"][0]["log"]
    does = {"sleep": 0.02, "succeed": {"n": 1}}
    undoing = {"type": "probe", "does": does, "log": log}
    nodes = [
        {"id": name, "type": "probe", "does": does, "log": log, "compensate": undoing} for name in ("a", "b", "c")
    ]
    fails = {"id": "fails", "type": "probe", "does": {"fail": "TOOL_FAILED"}}
    deployment.define({"name": "undone", "nodes": [*nodes, fails], "edges": ["a >> b >> c >> fails"]})


def undone_in_order(deployment: Deployment) -> None:
    """Each effect was undone, after the one that had come after it, however often a body ran."""
    begun: dict[str, list[str]] = {}
    for line in deployment.effects.read_text().splitlines():
        run_id, path, *_ = line.split()
        if path in UNDONE and path not in begun.setdefault(run_id, []):
            begun[run_id].append(path)
    assert list(begun.values()) == [UNDONE] * RUNS


@pytest.mark.parametrize("place", ["mid_compensation", "after_effect"])
def test_a_worker_that_dies_at(place: str, deploy: Deploy, work: dict[str, Any]) -> None:
    deployment = deploy(lease_seconds=1.0, sweep_seconds=0.25)
    deployment.worker("mortal", ORCHESTRATOR_CRASH_AT=place)
    deployment.api()
    deployment.ready("mortal")
    deployment.ready("api")
    define(deployment, work)
    deployment.trigger("undone", RUNS)
    poll(lambda: deployment.program("mortal").ended() == -9, 30, f"the death at {place}")
    deployment.worker("mortal", ORCHESTRATOR_CRASH_AT=place)
    poll(lambda: deployment.program("mortal").ended() == -9, 30, f"another death at {place}")
    deployment.worker("immortal")
    deployment.all_ended(RUNS, status="compensated")
    undone_in_order(deployment)
