"""docker-compose.yml keeps its promises: no default passwords, limits, health, no root, closed networks."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from orchestrator import settings
from orchestrator.cli.parts import worker
from orchestrator.supervisor import commands

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = YAML(typ="safe").load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
GIVEN = {
    "POSTGRES_PASSWORD": "postgres-word",
    "REDIS_PASSWORD": "redis-word",
    "ORCHESTRATOR_SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "FLOWER_USER": "ops",
    "FLOWER_PASSWORD": "flower-word",
}


def interpolated(text: str, given: dict[str, str]) -> str:
    """Compose's `${NAME:?message}` and `${NAME:-default}`."""

    def replace(found: re.Match[str]) -> str:
        name, operator, rest = found["name"], found["operator"], found["rest"]
        if given.get(name):
            return given[name]
        if operator == ":?":
            raise KeyError(f"{name}: {rest}")
        return str(rest)

    return re.sub(r"(?<!\$)\$\{(?P<name>\w+)(?P<operator>:[?-])(?P<rest>[^}]*)\}", replace, text)


def test_every_part_of_the_product_is_there() -> None:
    assert set(SERVICES) == {
        "postgres",
        "redis",
        "migrate",
        "api",
        "worker-steps",
        "worker-control",
        "beat",
        "flower",
    }


@pytest.mark.parametrize("missing", GIVEN)
def test_every_secret_must_be_given(missing: str) -> None:
    with pytest.raises(KeyError, match=missing):
        interpolated(TEXT, {name: value for name, value in GIVEN.items() if name != missing})


def test_no_value_that_names_a_password_stands_in_the_file() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|AUTH|_URL|BACKEND", name) and "INITDB" not in name:
                assert "${" in value, name


@pytest.mark.parametrize("name", SERVICES)
def test_limits_restart_health_and_no_root(name: str) -> None:
    service = SERVICES[name]
    assert service["mem_limit"]
    assert service["cpus"]
    assert service["user"] not in ("root", "0", "0:0")
    assert service["cap_drop"] == ["ALL"]
    assert service["stop_grace_period"] == "30s"
    once = name == "migrate"
    assert service["restart"] == ("no" if once else "unless-stopped")
    assert ("disable" if once else "test") in service["healthcheck"]


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_names_exists(name: str) -> None:
    service = SERVICES[name]
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    for volume in service.get("volumes", ()):
        assert volume.split(":")[0] in COMPOSE["volumes"]
    for other, how in service.get("depends_on", {}).items():
        waits_for = "service_completed_successfully" if other == "migrate" else "service_healthy"
        assert how["condition"] == waits_for
        assert other in SERVICES


def test_stores_are_reached_from_inside_alone_and_flower_from_this_host_alone() -> None:
    assert COMPOSE["networks"]["stores"] == {"internal": True}
    for name in ("postgres", "redis"):
        assert SERVICES[name]["networks"] == ["stores"]
        assert "ports" not in SERVICES[name]
    assert [port.split(":")[0] for port in SERVICES["flower"]["ports"]] == ["127.0.0.1"]


def test_redis_keeps_its_messages() -> None:
    command = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert "requirepass" in command


@pytest.mark.parametrize("name", ["migrate", "api", "worker-steps", "worker-control", "beat", "flower"])
def test_the_settings_of_a_part_are_accepted(name: str) -> None:
    environment = SERVICES[name]["environment"].items()
    given = {key: interpolated(str(value), GIVEN) for key, value in environment}
    made = settings.load({key: value for key, value in given.items() if key.startswith(settings.PREFIX)})
    assert not made.embedded
    assert made.celery_events
    assert made.database == "postgresql://orchestrator:postgres-word@postgres:5432/orchestrator"


def test_the_workers_take_every_queue_between_them() -> None:
    taken: list[str] = []
    for name in ("worker-steps", "worker-control"):
        context = worker.make_context("worker", list(SERVICES[name]["command"][2:]))
        taken += context.params["queues"].split(",")
    assert sorted(taken) == sorted(commands.ALL_QUEUES.split(","))


def test_the_image_runs_without_root_and_tells_its_health() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert "USER orchestrator" in lines
    assert any(line.startswith("HEALTHCHECK") for line in lines)
    assert lines[-1].startswith("CMD")
