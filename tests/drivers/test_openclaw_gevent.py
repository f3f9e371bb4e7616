"""The OpenClaw driver in the greenlets of a gevent worker."""

import json
import subprocess
import sys

import pytest

from tests.support.gateways import LocalGateway
from tests.support.polling import poll
from tests.support.programs import ROOT

pytest.importorskip("gevent")


def test_fifty_greenlets_share_one_connection(local_gateway: LocalGateway) -> None:
    address = local_gateway.address
    command = [sys.executable, "-m", "tests.drivers.gevent_dispatches", address.url, address.token or ""]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        running = poll(
            lambda: [row["status"] for row in local_gateway.runs()].count("running") == 50
            and local_gateway.server.connections,
            30,
            "fifty runs at once",
        )
        assert running == 1
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    [found] = [json.loads(line) for line in out.splitlines() if line.startswith("{")]  # beside what is logged
    assert found.pop("seconds") < 10
    assert found == {"succeeded": 50, "parked": 50, "ended": 50}
