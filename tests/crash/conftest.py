from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.settings import Settings
from tests.support.deployment import Deployment
from tests.support.processes import StartProgram
from tests.support.redis_server import RedisServer

Deploy = Callable[..., Deployment]


@pytest.fixture
def deploy(
    new_database: Callable[..., str], own_redis: RedisServer, programs: StartProgram, tmp_path: Path
) -> Iterator[Deploy]:
    """`deploy(**settings)`: a database and a Redis that the test may treat as it likes; leases are short."""
    made: list[Deployment] = []

    def new(**changes: Any) -> Deployment:
        settings = Settings(
            database_url=new_database("postgresql"),
            broker_url=own_redis.url(0),
            result_backend=own_redis.url(1),
            data_dir=tmp_path / "data",
            secret_key="a key for tests alone",
            lease_seconds=2.0,
            sweep_seconds=0.5,
        )
        made.append(Deployment(replace(settings, **changes), programs, tmp_path / "effects.log"))
        return made[-1]

    yield new
    for deployment in made:
        deployment.close()


@pytest.fixture
def work(tmp_path: Path) -> dict[str, Any]:
    """Six steps, three of them a chord into one join; each says where it works."""
    log = str(tmp_path / "effects.log")

    def step(name: str, seconds: float, kind: str = "probe") -> dict[str, Any]:
        does = {"sleep": seconds, "succeed": {name: True}}
        return {"id": name, "type": kind, "does": does, "log": log}

    members = [step(name, 0.1, "slow_probe") for name in ("b", "c", "d")]
    return {
        "name": "work",
        "nodes": [
            step("a", 0.05),
            *members,
            {"id": "join", "type": "noop"},
            step("e", 0.05),
            step("f", 0.02),
        ],
        "edges": ["a >> [b, c, d] >> join >> e >> f"],
    }
