"""The stack that is to suffer: `orchestrator up` on servers of its own, the world outside, another application."""

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.client import Client
from orchestrator.settings import Settings
from tests.faults.plan import LEASE_SECONDS, SWEEP_SECONDS
from tests.faults.postgres import Postgres
from tests.support.programs import Program, environ
from tests.support.redis_server import RedisServer, program
from tests.support.up import Up

WORKERS = 3  # one for control, two for steps
CONTROL, STEPS = "worker-1", ("worker-2", "worker-3")


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Everything that runs; `url` is the API's, `key` an admin's."""

    settings: Settings
    postgres: Postgres
    redis: RedisServer
    effects: str
    up: Up
    url: str
    key: str

    def client(self, timeout: float = 10.0) -> Client:
        return Client(self.url, api_key=self.key, timeout=timeout, retries=2)

    def pid(self, name: str) -> int | None:
        """The process of a part, None while it is to start again."""
        return self.up.pids().get(name)

    def effects_seen(self) -> dict[str, Any]:
        """What the world outside has seen (tests/faults/effects.py)."""
        with urllib.request.urlopen(self.effects, timeout=10) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found

    def log(self, name: str) -> str:
        return (self.settings.data_dir / "logs" / f"{name}.log").read_text(errors="replace")


@contextmanager
def running(directory: Path) -> Iterator[Stack]:
    """A stack whose files lie in `directory`; nothing of it is left behind but those."""
    with ExitStack() as after:
        postgres = Postgres()
        after.callback(postgres.close)
        redis = RedisServer(program(), directory)
        after.callback(redis.kill)
        plain = environ(Settings())
        effects = Program(["-m", "tests.faults.effects"], plain, directory / "effects.log")
        after.callback(effects.end)
        effects.wait_until("port ")
        address = f"http://127.0.0.1:{int(effects.log().split()[1])}"
        settings = _settings(directory, postgres, redis)
        after.callback(_elsewhere(settings, address, directory).end)
        up = Up(settings.data_dir, "--gateway", "--workers", str(WORKERS), **environ(settings))
        after.callback(up.end)
        after.callback(lambda: _thaw(up, redis))
        url = up.ready()
        key = (settings.data_dir / "admin.key").read_text().strip()
        yield Stack(
            settings=settings, postgres=postgres, redis=redis, effects=address, up=up, url=url, key=key
        )


def _settings(directory: Path, postgres: Postgres, redis: RedisServer) -> Settings:
    return Settings(
        database_url=postgres.url,
        broker_url=redis.url(0),
        result_backend=redis.url(1),
        data_dir=directory / "data",
        secret_key="a key for fault schedules alone",
        http_allow=("127.0.0.1",),
        lease_seconds=LEASE_SECONDS,
        sweep_seconds=SWEEP_SECONDS,
    )


def _elsewhere(settings: Settings, effects: str, directory: Path) -> Program:
    places = {"BROKER_URL": settings.broker, "RESULT_BACKEND": settings.results or "", "EFFECTS_URL": effects}
    command = ["-m", "celery", "-A", "tests.faults.foreign", "worker", "-P", "threads", "-c", "8"]
    options = ["-n", "elsewhere@faults", "--without-gossip", "--without-mingle", "-l", "info"]
    return Program([*command, *options], environ(Settings()) | places, directory / "elsewhere.log")


def _thaw(up: Up, redis: RedisServer) -> None:
    """Nothing that is frozen stays so: it could not even be ended in order."""
    redis.signal(signal.SIGCONT)
    for pid in up.family():
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass  # gone already
