"""Fixtures: drivers of gateways, closed before the gateways that they talk to."""

from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.drivers.openclaw_handshake import Address
from orchestrator.settings import Settings
from tests.support.driving import LOOPBACK, Drive, Driver, Heard
from tests.support.gateways import LocalGateway


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def drive(gateways: Any, odd_peer: Any, heard: Heard) -> Iterator[Drive]:
    """`drive(address, seed=…, setting=…) -> Driver`, closed after the test and before the gateways."""
    opened: list[Driver] = []

    def open_(address: Address, *, seed: bytes | None = None, **settings: Any) -> Driver:
        made = Settings(**{"http_allow": (LOOPBACK,)} | settings)
        options = {} if seed is None else {"seed": seed}
        opened.append(Driver(address, heard, made, **options))
        return opened[-1]

    yield open_
    for each in opened:
        each.gateway.close()


@pytest.fixture
def driver(drive: Drive, local_gateway: LocalGateway) -> Driver:
    return drive(local_gateway.address)
