"""Real servers for every test: found on the machine, or started from their wheels."""

import gc
import os
import zlib

import pytest
import structlog

pytest_plugins = [
    "tests.support.databases",
    "tests.support.brokers",
    "tests.support.buses",
    "tests.support.processes",
    "tests.support.gateways",
    "tests.support.openclaw",
    "tests.support.either",
    "tests.support.receiver",
]

# The default one draws every local variable of every frame, which takes seconds.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Among several processes, files in an order of chance, the same in each: those of one folder wait for servers
    and those of another one compute, and either alone leaves a part of the machine idle.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: zlib.crc32(str(item.path.relative_to(item.config.rootpath)).encode()))


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is imported and collected by now stays: to look through it again and again took a seventh of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
