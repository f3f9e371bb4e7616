"""Fixture: a real OpenClaw gateway on loopback, with a state of its own and a scripted model.

Source: spec "gateway", how to run one. Installed by `make openclaw` into `.openclaw/`.
"""

import json
import os
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from orchestrator.bridge import Accepted, Dispatch, Endpoint, GatewayParts, Pong, Sent, Unsent
from orchestrator.core.outcome import Again, Cancelled, Failed, Succeeded
from orchestrator.drivers.openclaw import OpenClawGateway
from orchestrator.drivers.openclaw_handshake import Address
from orchestrator.drivers.outbound import GuardedOutbound
from orchestrator.settings import Settings
from tests.support.gateways import RawClient
from tests.support.model import MODEL, ModelServer
from tests.support.polling import poll
from tests.support.programs import ROOT, Program

INSTALLED = ROOT / ".openclaw"
ENTRY = INSTALLED / "node_modules" / "openclaw" / "openclaw.mjs"
NODE = INSTALLED / "node"  # holds the path of the Node to run it on
PRICES = {"input": 3.0, "output": 15.0, "cacheRead": 0.3, "cacheWrite": 3.75}  # dollars a million tokens
TOKEN = "the token of a real gateway"
_LEFT_OUT = "they need a real OpenClaw gateway; `make openclaw` runs them"
_START_LIMIT = 120.0  # the first start in a state directory, on a busy machine


class OpenClaw:
    """A gateway that can be stopped, killed and started again; its port and state stay."""

    def __init__(self, place: Path, stub: ModelServer, **settings: Any) -> None:
        self.stub = stub
        self.token = TOKEN
        self.state = place / "state"
        self._place = place
        self._port = _free_port()
        self._settings = settings
        self._boots: list[Program] = []
        self.state.mkdir(parents=True)
        (place / "tmp").mkdir()
        self._write_config()

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}"

    @property
    def address(self) -> Address:
        return Address(url=self.url, token=self.token)

    @property
    def running(self) -> bool:
        return bool(self._boots) and self._boots[-1].ended() is None

    def start(self) -> None:
        """A new boot; returns when it is ready."""
        arguments = [str(ENTRY), "gateway", "run", "--port", str(self._port), "--bind", "loopback"]
        log = self._place / f"gateway-{len(self._boots)}.log"
        self._boots.append(Program(arguments, self._environ(), log, cwd=self._place, executable=node()))
        poll(self._booted, _START_LIMIT, f"the gateway's readiness ({log})")

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        code = self._boots[-1].stop(60)
        self._await_end()
        return code

    def restart(self) -> None:
        """As an operator does it: SIGTERM, and a new boot."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """SIGKILL to the gateway and what it has started."""
        self._boots[-1].end()
        self._await_end()

    def terminate(self) -> None:
        """SIGTERM, without waiting for the end."""
        self._boots[-1].signal(signal.SIGTERM)

    def rows(self, session_key: str) -> list[dict[str, Any]]:
        """The ledger's rows of a session, the newest first."""
        client = RawClient(self.address)
        try:
            client.connect(self.token)
            found = client.ask("tasks.list", {"sessionKey": session_key})["payload"]["tasks"]
        finally:
            client.close()
        return sorted(found, key=lambda row: int(row["createdAt"]), reverse=True)

    def log(self) -> str:
        """What all boots printed."""
        return "\n".join(boot.log() for boot in self._boots)

    def close(self) -> None:
        """Leave no process behind."""
        for boot in self._boots:
            boot.end()
        self._await_end()

    def _await_end(self) -> None:
        # Its broker of processes has a session of its own, and ends when it finds the gateway gone.
        poll(lambda: not processes_with(str(self.state)), 20, "the end of the gateway's processes")

    def _booted(self) -> bool:
        code = self._boots[-1].ended()
        assert code is None, f"the gateway ended with {code}:\n{self._boots[-1].log()}"
        return self.is_ready()

    def is_ready(self) -> bool:
        """Whether it takes connections."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=2) as answer:
                return answer.status == 200
        except (OSError, urllib.error.URLError):
            return False

    def _environ(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return kept | {
            "HOME": str(self._place),
            "TMPDIR": str(self._place / "tmp"),
            "OPENCLAW_HOME": str(self._place),
            "OPENCLAW_STATE_DIR": str(self.state),
            "OPENCLAW_CONFIG_PATH": str(self._place / "openclaw.json"),
            "OPENCLAW_SKIP_CHANNELS": "1",
            "OPENCLAW_DISABLE_BONJOUR": "1",
            "OPENCLAW_NO_RESPAWN": "1",
        }

    def _write_config(self) -> None:
        (self._place / "openclaw.json").write_text(json.dumps(config(self) | self._settings, indent=2))


def config(gateway: OpenClaw) -> dict[str, Any]:
    """The settings of a gateway for tests: two agents, one priced model, nothing that calls out."""
    model = {"id": MODEL, "name": MODEL, "cost": PRICES, "contextWindow": 128_000, "maxTokens": 8_000}
    return {
        "gateway": {
            "mode": "local",
            "port": gateway.port,
            "bind": "loopback",
            "auth": {"mode": "token", "token": gateway.token},
        },
        "models": {
            "providers": {
                "stub": {
                    "baseUrl": gateway.stub.url,
                    "apiKey": "none",
                    "api": "openai-completions",
                    "models": [model],
                }
            }
        },
        "agents": {
            "defaults": {
                "model": {"primary": f"stub/{MODEL}"},
                "skipBootstrap": True,
                "heartbeat": {"every": "0m"},
            },
        },
    }


def node() -> str:
    """The Node that the installation chose."""
    return NODE.read_text().strip()


def processes_with(text: str) -> list[int]:
    """The processes whose environment holds a text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):  # it ended while it was looked at
                if text.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
    return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def _openclaw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenClaw]:
    stub = ModelServer()
    gateway = OpenClaw(tmp_path_factory.mktemp("openclaw"), stub)
    yield gateway
    gateway.close()
    stub.close()


@pytest.fixture
def openclaw(_openclaw: OpenClaw) -> Iterator[OpenClaw]:
    """The gateway of this test session, up, with nothing held at its model. A boot takes 15 s: share it."""
    if not _openclaw.running:
        _openclaw.start()
    yield _openclaw
    _openclaw.stub.release()


class ToGateway:
    """The driver, bound to one gateway as its engine would know it."""

    def __init__(self, endpoint: Endpoint, driver: OpenClawGateway) -> None:
        self.endpoint = endpoint
        self.driver = driver

    def dispatch(self, request: Dispatch) -> Succeeded | Failed | Cancelled | Accepted | Unsent:
        return self.driver.dispatch(self.endpoint, request)

    def look_up(self, sent: Sent) -> Succeeded | Failed | Again | None:
        return self.driver.look_up(self.endpoint, sent)

    def stop(self, sent: Sent) -> None:
        self.driver.stop(self.endpoint, sent)

    def ping(self) -> Pong:
        return self.driver.ping(self.endpoint, 20.0)

    def provision(self, agent: str, files: Mapping[str, str]) -> None:
        self.driver.provision(self.endpoint, agent, files)


Bridge = Callable[..., ToGateway]


@pytest.fixture
def claw_bridge(openclaw: OpenClaw) -> Iterator[Bridge]:
    """`claw_bridge(url=…, token=…) -> ToGateway`, to the real gateway unless told otherwise; closed after the test."""
    opened: list[OpenClawGateway] = []

    def open_(url: str | None = None, token: str | None = TOKEN) -> ToGateway:
        parts = GatewayParts(
            settings=Settings(),
            outbound=GuardedOutbound(),
            device_seed=os.urandom(32),
            paired=lambda _gateway, _token: None,
        )
        opened.append(OpenClawGateway(parts))
        endpoint = Endpoint(id="real", kind="openclaw", url=url or openclaw.url, token=token)
        return ToGateway(endpoint, opened[-1])

    yield open_
    for each in opened:
        each.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--openclaw", action="store_true", help="run the tests against a real OpenClaw gateway")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked = config.getoption("openclaw")
    if asked and not NODE.exists():
        raise pytest.UsageError(f"no OpenClaw gateway in {INSTALLED}: `make openclaw` installs it")
    for item in items:
        if not asked and item.get_closest_marker("openclaw"):
            item.add_marker(pytest.mark.skip(reason=_LEFT_OUT))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    count = sum(_LEFT_OUT in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_line(f"{count} tests left out: {_LEFT_OUT}")
