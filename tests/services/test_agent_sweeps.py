"""The sweeps of agents, gateways and what is only kept for a while."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from models.agent import Agent
from models.base import uuid7
from models.database import Database
from models.event import Chunk, OperationalEvent
from models.gateway import Gateway
from models.queries import agents, gateways, operational
from orchestrator.bridge import Pong
from orchestrator.services import sweeps
from orchestrator.settings import Settings
from tests.support import engine as engines
from tests.support import fake_gateway
from tests.support.attempts import long_ago
from tests.support.engine import Engine
from tests.support.fake_gateway import FakeGateway
from tests.support.histories import execute


@pytest.fixture
def ours(database: Database) -> Engine:
    return engines.make(database, settings=Settings(secret_key="a secret key that tests alone use"))


def agent(ours: Engine, name: str, **fields: Any) -> str:
    agent_id = uuid7()
    values = {"capabilities": [], "status": "online", "queued_task_count": 0, **fields}
    with ours.deps.db.transaction() as session:
        assert agents.add(session, {"id": agent_id, "workspace_id": ours.actor.workspace_id, "name": name, **values})
    return agent_id


def gateway(ours: Engine, name: str, kind: str = "openclaw") -> str:
    values = {"name": name, "kind": kind, "is_default": False, "failures": 0}
    with ours.deps.db.transaction() as session:
        made = gateways.add(session, {"workspace_id": ours.actor.workspace_id, **values})
    assert made is not None
    return made


def silence(ours: Engine, *names: str) -> None:
    for name in names:
        execute(ours, "UPDATE agent SET heartbeat_at = :at WHERE name = :name", at=long_ago(ours), name=name)


def statuses(ours: Engine) -> dict[str, str]:
    with ours.deps.db.read() as session:
        return {row.name: row.status for row in session.scalars(select(Agent).order_by(Agent.name))}


def told(ours: Engine) -> list[tuple[str, str]]:
    with ours.deps.db.read() as session:
        found = operational.events(session, ours.actor.workspace_id)
        return sorted((event.type, event.data["name"]) for event in found)


def test_who_fell_silent_is_offline(ours: Engine) -> None:
    for name, status in (("a", "online"), ("b", "busy"), ("c", "stopped"), ("d", "failed"), ("e", "idle")):
        agent(ours, name, status=status)
    silence(ours, "a", "b", "c", "d")
    assert sweeps.run(ours.deps, "agents").found == 2
    assert statuses(ours) == {"a": "offline", "b": "offline", "c": "stopped", "d": "failed", "e": "idle"}
    assert told(ours) == [("agent.offline", "a"), ("agent.offline", "b")]
    assert sweeps.run(ours.deps, "agents").found == 0


def test_silence_is_counted_by_the_setting(database: Database) -> None:
    ours = engines.make(database, settings=Settings(agent_offline_seconds=60))
    agent(ours, "a")
    agent(ours, "b")
    for name, seconds in (("a", 50), ("b", 70)):
        at = datetime.now(UTC) - timedelta(seconds=seconds)
        given: Any = at.timestamp() if database.is_sqlite else at
        execute(ours, "UPDATE agent SET heartbeat_at = :at WHERE name = :name", at=given, name=name)
    sweeps.run(ours.deps, "agents")
    assert statuses(ours) == {"a": "online", "b": "offline"}


def test_two_beats_tell_of_an_agent_once(ours: Engine) -> None:
    names = [f"a{number}" for number in range(20)]
    for name in names:
        agent(ours, name)
    silence(ours, *names)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: sweeps.run(ours.deps, "agents"), range(4)))
    sweeps.run(ours.deps, "agents")
    assert told(ours) == sorted(("agent.offline", name) for name in names)


def test_each_gateway_is_pinged_when_it_is_due(ours: Engine) -> None:
    driver = fake_gateway.install(ours.deps)
    made = {gateway(ours, "a"), gateway(ours, "b", "http")}
    assert sweeps.run(ours.deps, "gateways").found == 2
    assert {endpoint.id for endpoint in driver.asked} == made
    assert sweeps.run(ours.deps, "gateways").found == 0
    execute(ours, "UPDATE gateway SET checked_at = :at WHERE name = 'b'", at=long_ago(ours))
    assert sweeps.run(ours.deps, "gateways").found == 1
    with ours.deps.db.read() as session:
        assert [row.status for row in session.scalars(select(Gateway))] == ["healthy", "healthy"]


def test_gateways_are_pinged_at_once_outside_of_transactions(ours: Engine) -> None:
    driver = fake_gateway.install(ours.deps)
    driver.together = threading.Barrier(8)
    for number in range(8):
        gateway(ours, f"g{number}")
    assert sweeps.run(ours.deps, "gateways").found == 8
    assert len(driver.asked) == 8


def test_two_beats_ping_a_gateway_once(ours: Engine) -> None:
    driver = fake_gateway.install(ours.deps)
    for number in range(10):
        gateway(ours, f"g{number}")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: sweeps.run(ours.deps, "gateways").found, range(4)))
    found.append(sweeps.run(ours.deps, "gateways").found)
    assert sum(found) == 10
    assert len({endpoint.id for endpoint in driver.asked}) == len(driver.asked) == 10


def test_a_gateway_is_unhealthy_after_three_beats_and_back(ours: Engine) -> None:
    driver = fake_gateway.install(ours.deps)
    gateway(ours, "a")

    def beat() -> str:
        execute(ours, "UPDATE gateway SET checked_at = :at", at=long_ago(ours))
        sweeps.run(ours.deps, "gateways")
        with ours.deps.db.read() as session:
            return session.scalars(select(Gateway.status)).one()

    driver.pong = "nobody listens"
    assert [beat() for _ in range(4)] == ["unknown", "unknown", "unhealthy", "unhealthy"]
    driver.pong = Pong()
    assert beat() == "healthy"
    assert told(ours) == [("gateway.healthy", "a"), ("gateway.unhealthy", "a")]


def listed(ours: Engine, driver: FakeGateway, *ids: str) -> dict[str, str]:
    """The agents' statuses after a ping that listed these."""
    driver.pong = Pong(agents=ids)
    execute(ours, "UPDATE gateway SET checked_at = :at", at=long_ago(ours))
    sweeps.run(ours.deps, "gateways")
    sweeps.run(ours.deps, "agents")
    return statuses(ours)


def test_agents_without_heartbeats_are_heard_of_by_their_gateway(ours: Engine) -> None:
    driver = fake_gateway.install(ours.deps)
    hub = gateway(ours, "hub")
    agent(ours, "listed", beats=False, gateway_id=hub)
    agent(ours, "keyed", beats=False, gateway_id=hub, session_key="agent:Main:x")
    agent(ours, "beats", gateway_id=hub)
    agent(ours, "far", beats=False)
    names = ("listed", "keyed", "beats", "far")
    silence(ours, *names)
    assert listed(ours, driver, "listed", "main", "beats", "far") == {
        "listed": "online",
        "keyed": "online",
        "beats": "offline",
        "far": "offline",
    }
    silence(ours, *names)
    assert listed(ours, driver)["listed"] == "offline"
    assert listed(ours, driver, "listed")["listed"] == "online"
    assert ("agent.online", "listed") in told(ours)
    silence(ours, *names)
    driver.pong = Pong()
    execute(ours, "UPDATE gateway SET checked_at = :at", at=long_ago(ours))
    sweeps.run(ours.deps, "gateways")
    sweeps.run(ours.deps, "agents")
    assert statuses(ours)["keyed"] == "online"


def test_what_happened_is_forgotten_after_its_time(database: Database) -> None:
    ours = engines.make(database, settings=Settings(event_retention_hours=2))
    now = datetime.now(UTC)
    with database.transaction() as session:
        for hours in (1, 3):
            session.add(
                OperationalEvent(
                    workspace_id=ours.actor.workspace_id,
                    type="agent.online",
                    at=now - timedelta(hours=hours),
                    data={"name": str(hours)},
                )
            )
        for seconds in (30, 90):
            at = now - timedelta(seconds=seconds)
            session.add(Chunk(run_id=uuid7(), type="stream.chunk", step=str(seconds), at=at, data={}))
    assert sweeps.run(ours.deps, "operational").found == 1
    assert told(ours) == [("agent.online", "1")]
    with database.read() as session:
        assert list(session.scalars(select(Chunk.step))) == ["30"]
    assert sweeps.run(ours.deps, "operational").found == 0


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_sweeps_that_find_nothing_write_only_their_stamps(ours: Engine) -> None:
    gateway(ours, "a")
    fake_gateway.install(ours.deps)
    agent(ours, "a")
    sweeps.run(ours.deps, "gateways")

    def rows() -> list[Any]:
        with ours.deps.db.read() as session:
            tables = ("agent", "gateway", "work", "operational_event", "chunk")
            return [tuple(row) for name in tables for row in session.execute(text(f"SELECT * FROM {name}"))]

    before = rows()
    for name in ("agents", "gateways", "operational"):
        assert sweeps.run(ours.deps, name).found == 0
    assert rows() == before
