"""Runs that call runs, through real workers: to their ends, and through the deaths of who passes things on."""

from typing import Any

import pytest
from sqlalchemy import select

from models.run import Run
from tests.crash.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.polling import poll
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.crash, pytest.mark.redis, pytest.mark.postgres, pytest.mark.timeout(120)]
RUNS = 5
TREE = 4  # runs of one tree


def define(deployment: Deployment, work: dict[str, Any]) -> None:
    """`top` calls `middle`, which calls `leaf` twice at once."""
    log = work["nodes"][0]["log"]
    does = {"sleep": 0.05, "succeed": {"n": 1}, "usage": {"cost_microcents": 7}}
    leaf = {"name": "leaf", "nodes": [{"id": "x", "type": "probe", "does": does, "log": log}]}
    calls = [{"id": name, "type": "subworkflow", "workflow": "leaf"} for name in ("a", "b")]
    join = {"id": "both", "type": "noop"}
    middle = {"name": "middle", "nodes": [*calls, join], "edges": ["[a, b] >> both"]}
    nodes = [
        {"id": "call", "type": "subworkflow", "workflow": "middle", "inputs": {"who": "{{run.id}}"}},
        {"id": "after", "type": "probe", "log": log},
    ]
    top = {"name": "top", "nodes": nodes, "edges": ["call >> after"], "budget": {"limit_cents": 1}}
    for definition in (leaf, middle, top):
        deployment.define(definition)


def paid(deployment: Deployment) -> None:
    with deployment.database.read() as session:
        roots = session.scalars(select(Run).where(Run.parent_run_id.is_(None))).all()
    assert [run.cost_microcents for run in roots] == [14] * RUNS


def test_trees_of_runs_through_workers(deploy: Deploy, work: dict[str, Any]) -> None:
    deployment = deploy()
    deployment.worker("one")
    deployment.worker("two", pool="prefork", concurrency=2)
    deployment.api()
    deployment.ready("api")
    define(deployment, work)
    deployment.trigger("top", RUNS)
    deployment.all_ended(RUNS * TREE)
    paid(deployment)


@pytest.mark.parametrize("place", ["calling", "answered"])
def test_a_worker_that_dies_at(place: str, deploy: Deploy, work: dict[str, Any]) -> None:
    deployment = deploy(lease_seconds=1.0, sweep_seconds=0.25)
    deployment.worker("mortal", ORCHESTRATOR_CRASH_AT=place)
    deployment.api()
    deployment.ready("mortal")
    deployment.ready("api")
    define(deployment, work)
    deployment.trigger("top", RUNS)
    poll(lambda: deployment.program("mortal").ended() == -9, 30, f"the death at {place}")
    deployment.worker("immortal")
    deployment.all_ended(RUNS * TREE)
    paid(deployment)


def test_a_broker_that_forgets_what_was_to_be_passed_on(
    deploy: Deploy, work: dict[str, Any], own_redis: RedisServer
) -> None:
    deployment = deploy(sweep_seconds=0.25)
    deployment.api()
    deployment.worker("one")
    deployment.ready("api")
    define(deployment, work)
    deployment.trigger("top", RUNS)
    poll(lambda: deployment.done() > RUNS, 30, "some steps")
    own_redis.flush()
    deployment.all_ended(RUNS * TREE)
    paid(deployment)
