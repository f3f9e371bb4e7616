"""Workers, beat and each bus on real servers: a subscriber gets all events of runs, whatever is killed on the way."""

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from models.queries import subscribers
from orchestrator.bus import BusParts
from orchestrator.registry import make_bus
from orchestrator.services import bus_feed
from tests.crash.conftest import deploy, work  # noqa: F401 - fixtures
from tests.support.buses import SERVERS
from tests.support.deployment import Deployment
from tests.support.polling import poll
from tests.support.processes import StartProgram
from tests.support.programs import Program
from tests.support.soundness import assert_sound

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.timeout(180),
    pytest.mark.parametrize("bus_kind", SERVERS),
]
RUNS = 10


def followed(deployment: Deployment, programs: StartProgram, name: str, *options: str) -> Program:
    """`orchestrator bus tail`, as soon as the bus has a place in the journal."""

    def placed() -> bool:
        with deployment.database.read() as session:
            return subscribers.look(session, bus_feed.NAME) is not None

    poll(placed, 40, "the first sweep of the bus")
    subscribe(deployment, name)
    command = ("-m", "orchestrator.cli", "bus", "tail", "--name", name, *options)
    return programs(deployment.settings, *command)


def subscribe(deployment: Deployment, name: str) -> None:
    """Make the subscriber, so that nothing is missed while its process starts."""
    url = deployment.settings.bus
    assert url is not None
    bus = make_bus(BusParts(settings=deployment.settings, url=url))
    bus.subscribe(name).close()
    bus.close()


def events(program: Program) -> dict[str, list[dict[str, Any]]]:
    """What a subscriber printed, by run, each event once."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for line in program.log().splitlines():
        if line.startswith("{") and line.endswith("}"):
            event = json.loads(line)
            found.setdefault(event["run_id"], {}).setdefault(event["seq"], event)
    return {run_id: list(seen.values()) for run_id, seen in found.items()}


def assert_whole(found: dict[str, list[dict[str, Any]]], runs: int) -> None:
    """Each run from run.created to run.completed, its numbers in order without a gap."""
    assert len(found) == runs
    for told in found.values():
        assert [event["seq"] for event in told] == list(range(1, len(told) + 1))
        assert (told[0]["type"], told[-1]["type"]) == ("run.created", "run.completed")


def ended(program: Program) -> int:
    return sum(told[-1]["type"] == "run.completed" for told in events(program).values())


def test_a_subscriber_gets_a_run_from_its_creation_to_its_end(
    deploy: Callable[..., Deployment],  # noqa: F811 - a fixture
    work: dict[str, Any],  # noqa: F811
    programs: StartProgram,
    bus_url: str,
    bus_kind: str,
    name: str,
) -> None:
    deployment = deploy(event_bus=bus_url)
    deployment.worker("one")
    deployment.beat()
    deployment.api()
    for part in ("one", "api"):
        deployment.ready(part)
    deployment.define(work)
    tail = followed(deployment, programs, name, "--types", "run.*,step.*")
    deployment.trigger_meanwhile("work", 2, 0.1)()
    deployment.all_ended(2)
    poll(lambda: ended(tail) == 2, 40, "the end of both runs")
    assert_whole(events(tail), 2)
    assert tail.stop() == 0
    assert_sound(deployment.deps)


@pytest.mark.crash
def test_nothing_is_missing_where_the_publishing_worker_is_killed(
    deploy: Callable[..., Deployment],  # noqa: F811 - a fixture
    work: dict[str, Any],  # noqa: F811
    programs: StartProgram,
    bus_url: str,
    bus_kind: str,
    name: str,
) -> None:
    """A worker that dies each time that it has published a batch, one that lives, both told by kill -9."""
    deployment = deploy(event_bus=bus_url)
    deployment.worker("mortal", ORCHESTRATOR_CRASH_AT="mid_bus")
    deployment.beat()
    deployment.api()
    for part in ("mortal", "api"):
        deployment.ready(part)
    deployment.define(work)
    tail = followed(deployment, programs, name)
    ids = deployment.trigger_meanwhile("work", RUNS, 0.05)
    poll(lambda: deployment.program("mortal").ended() == -signal.SIGKILL, 40, "the death of the worker in mid batch")
    deployment.worker("heir")
    ids()
    deployment.all_ended(RUNS)
    poll(lambda: ended(tail) == RUNS, 60, "the end of all runs")
    assert_whole(events(tail), RUNS)
    assert_sound(deployment.deps)
