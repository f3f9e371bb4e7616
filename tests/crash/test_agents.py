"""Workers that die while agents work: every step ends right, and the gateway saw each piece of work once."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from models.base import uuid7
from models.gateway import Gateway
from models.step import Attempt
from models.workspace import Workspace
from orchestrator.services import vault
from tests.crash.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.gateways import TOKEN, LocalGateway
from tests.support.polling import poll

pytestmark = [pytest.mark.crash, pytest.mark.redis, pytest.mark.postgres, pytest.mark.timeout(120)]
RUNS = 6


@pytest.fixture
def gateway() -> Iterator[LocalGateway]:
    found = LocalGateway()
    yield found
    found.close()


@pytest.fixture
def asking(work: dict[str, Any]) -> Callable[[float], dict[str, Any]]:
    """`asking(seconds)`: a workflow of an agent that takes so long, and a step after it."""
    log = work["nodes"][0]["log"]

    def made(seconds: float) -> dict[str, Any]:
        task = {"title": "Think", "description": f'@gateway {{"delay": {seconds}}}'}
        nodes = [
            {"id": "a", "type": "agent", "agent": "ada", "task": task},
            {"id": "b", "type": "probe", "log": log},
        ]
        return {"name": "asking", "nodes": nodes, "edges": ["a >> b"]}

    return made


def connect(deployment: Deployment, gateway: LocalGateway) -> None:
    now = datetime.now(UTC)
    with deployment.database.transaction() as session:
        workspace = session.scalars(select(Workspace).where(Workspace.name == "default")).one()
        session.add(
            Gateway(
                id=uuid7(),
                workspace_id=workspace.id,
                name="desk",
                kind="openclaw",
                url=gateway.address.url,
                token=vault.seal(deployment.settings, TOKEN),
                is_default=True,
                status="healthy",
                created_at=now,
                updated_at=now,
            )
        )


def sent_once(deployment: Deployment, gateway: LocalGateway) -> None:
    """One run at the gateway for each of ours."""
    seen = Counter(row["runId"].split(":")[0] for row in gateway.runs())
    assert len(seen) == RUNS
    assert set(seen.values()) == {1}
    with deployment.database.read() as session:
        ended = session.scalars(select(Attempt.status).where(Attempt.assigned.is_not(None)))
        assert Counter(ended)["success"] == RUNS


@pytest.mark.parametrize("place", ["assigned", "accepted"])
def test_a_worker_that_dies_at(
    place: str, gateway: LocalGateway, deploy: Deploy, asking: Callable[[float], dict[str, Any]]
) -> None:
    """Between writing down where the work goes and sending it; between its acceptance and the park."""
    deployment = deploy(lease_seconds=1.0, sweep_seconds=0.25, gateway_sync_seconds=0.1)
    connect(deployment, gateway)
    deployment.worker("mortal", ORCHESTRATOR_CRASH_AT=place)
    deployment.api()
    deployment.ready("mortal")
    deployment.ready("api")
    deployment.define(asking(1.0))
    deployment.trigger("asking", RUNS)
    poll(lambda: deployment.program("mortal").ended() == -9, 30, f"the death at {place}")
    deployment.worker("immortal")
    deployment.all_ended(RUNS)
    sent_once(deployment, gateway)


def test_a_worker_that_dies_while_its_agents_work(
    gateway: LocalGateway, deploy: Deploy, asking: Callable[[float], dict[str, Any]]
) -> None:
    """Some of its steps are parked, some are waited for; nobody is left that would see their ends."""
    deployment = deploy(lease_seconds=1.0, sweep_seconds=0.25, gateway_sync_seconds=1.0)
    connect(deployment, gateway)
    deployment.worker("mortal", concurrency=4)
    deployment.api()
    deployment.ready("mortal")
    deployment.ready("api")
    deployment.define(asking(2.0))
    deployment.trigger("asking", RUNS)
    poll(lambda: len(gateway.runs()) >= RUNS - 2, 20, "work at the gateway")
    deployment.program("mortal").kill()
    deployment.program("mortal").end()
    deployment.worker("immortal")
    deployment.all_ended(RUNS)
    sent_once(deployment, gateway)


def test_ends_that_a_process_sees_need_no_sweep(
    gateway: LocalGateway, deploy: Deploy, asking: Callable[[float], dict[str, Any]]
) -> None:
    """Parked work is settled by the event of its gateway, long before anybody would look."""
    deployment = deploy(gateway_sync_seconds=0.1)
    connect(deployment, gateway)
    deployment.worker("one")
    deployment.api()
    deployment.ready("one")
    deployment.ready("api")
    deployment.define(asking(1.0))
    deployment.trigger("asking", 1)
    deployment.all_ended(1)  # from now on the worker has a connection, however slow the machine is
    run_ids = deployment.trigger("asking", RUNS)[1:]  # the first is the one that ended
    deployment.all_ended(RUNS, limit=9.0)
    sent_once(deployment, gateway)
    for run_id in run_ids:
        told = deployment.told(run_id, "a")
        assert [type_ for type_, _ in told] == ["step.queued", "step.started", "step.waiting", "step.completed"], told
