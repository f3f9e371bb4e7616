"""Fixtures: settings of a test's own stack, its workers, proxies to its servers."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from models.database import Database
from orchestrator.settings import Settings
from tests.support.programs import Program, environ
from tests.support.proxy import Proxy

QUEUES = "control,steps,webhooks,sweeps"


class StartWorker(Protocol):
    def __call__(
        self,
        settings: Settings,
        *,
        queues: str = QUEUES,
        pool: str = "threads",
        concurrency: int = 8,
        arguments: tuple[str, ...] = (),
        extra: dict[str, str] | None = None,
        ready: bool = True,
    ) -> Program: ...


class StartProgram(Protocol):
    def __call__(
        self, settings: Settings, *arguments: str, extra: dict[str, str] | None = None
    ) -> Program: ...


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    """Settings of this test's database and no broker."""
    url = database.url.render_as_string(hide_password=False)
    return Settings(database_url=url, data_dir=tmp_path / "data", secret_key="a key for tests alone")


@pytest.fixture
def stack(settings: Settings, broker_url: str, redis_url: str) -> Settings:
    """Settings of this test's database, broker and result backend; sweeps and leases are short."""
    return replace(
        settings, broker_url=broker_url, result_backend=redis_url, lease_seconds=3.0, sweep_seconds=0.5
    )


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[StartProgram]:
    """`programs(settings, "-m", "celery", …) -> Program`: a real process of ours, ended after the test."""
    started: list[Program] = []

    def start(settings: Settings, *arguments: str, extra: dict[str, str] | None = None) -> Program:
        log = tmp_path / f"program-{len(started)}.log"
        started.append(Program(list(arguments), environ(settings) | (extra or {}), log))
        return started[-1]

    yield start
    for program in started:
        program.end()


@pytest.fixture
def workers(programs: StartProgram) -> StartWorker:
    """`workers(settings, queues=…, pool=…, concurrency=…) -> Program`: a Celery worker that is ready."""
    count = iter(range(1, 1000))

    def start(
        settings: Settings,
        *,
        queues: str = QUEUES,
        pool: str = "threads",
        concurrency: int = 8,
        arguments: tuple[str, ...] = (),
        extra: dict[str, str] | None = None,
        ready: bool = True,
    ) -> Program:
        name = f"worker{next(count)}@test"
        command = ["-m", "celery", "-A", "tasks.app", "worker", "-Q", queues, "-P", pool, "-n", name]
        command += ["-c", str(concurrency), "--loglevel", "info", *arguments]
        worker = programs(settings, *command, extra=extra)
        if ready:
            worker.wait_until(f"{name} ready")
        return worker

    return start


@pytest.fixture
def proxy() -> Iterator[Callable[[str, int], Proxy]]:
    """`proxy(host, port) -> Proxy`: a way to a server that the test can cut."""
    opened: list[Proxy] = []

    def open_(host: str, port: int) -> Proxy:
        opened.append(Proxy(host, port))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()
