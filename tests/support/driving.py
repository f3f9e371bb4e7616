"""Drivers of gateways as the tests use them: what they are made of, attempts for them, what came of those."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from models.errors import ErrorCode, UnavailableError
from orchestrator.bridge import Accepted, Dispatch, Endpoint, Gateway, GatewayParts, Piece, Sent
from orchestrator.core.outcome import Again, Cancelled, Failed, Succeeded
from orchestrator.drivers.openclaw import OpenClawGateway
from orchestrator.drivers.openclaw_handshake import Address
from orchestrator.drivers.outbound import GuardedOutbound
from orchestrator.ports import Task
from orchestrator.settings import Settings
from tests.support.polling import poll

SEED = bytes(range(32))
LOOPBACK = "127.0.0.0/8"

@dataclass(slots=True)
class Heard:
    """What a driver told besides its answers: ends of accepted work, pieces of text, device tokens."""

    ends: list[Succeeded | Failed] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    tokens: list[tuple[str, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    def end(self) -> Succeeded | Failed:
        """The end of the one accepted attempt, once it is there."""
        poll(lambda: self.ends, what="the end of the accepted attempt")
        assert len(self.ends) == 1
        return self.ends[0]


def parts(settings: Settings | None = None, *, heard: Heard | None = None, seed: bytes = SEED) -> GatewayParts:
    """What a driver is made of."""
    given = settings or Settings(http_allow=(LOOPBACK,))
    told = heard or Heard()
    return GatewayParts(
        settings=given,
        outbound=GuardedOutbound(given.http_allow),
        device_seed=seed,
        paired=lambda gateway, token: told.tokens.append((gateway, token)),
    )


def endpoint(address: Address, *, id_: str = "gateway", kind: str = "openclaw", **changes: Any) -> Endpoint:
    found = Endpoint(
        id=id_, kind=kind, url=address.url, token=address.token, device_token=address.device_token
    )
    return replace(found, **changes)


class Driver:
    """The OpenClaw driver and one gateway."""

    def __init__(self, address: Address, heard: Heard, settings: Settings, **options: Any) -> None:
        self.endpoint = endpoint(address)
        self.gateway = OpenClawGateway(parts(settings, heard=heard, **options))

    def dispatch(self, request: Dispatch) -> Any:
        return self.gateway.dispatch(self.endpoint, request)

    def look_up(self, request: Dispatch) -> Any:
        return self.gateway.look_up(self.endpoint, request.sent)

    def stop(self, request: Dispatch) -> None:
        self.gateway.stop(self.endpoint, request.sent)

    def at(self, place: Endpoint) -> "Driver":
        """From now on the gateway is reached like this."""
        self.endpoint = place
        return self


Drive = Callable[..., Driver]


def work(name: str, directive: str = "", *, seconds: float | None = 10.0, **changes: Any) -> Dispatch:
    """Attempt 1 of the step `name` of the run `run`, for the agent `echo`, scripted by a directive."""
    request = Dispatch(
        sent=Sent(agent="echo", session_key=f"agent:echo:wf-run-{name}-a1", key=f"run:{name}:1"),
        task=Task(
            title="Say it",
            description=f"Say what you got.\n@gateway {directive}" if directive else "Say what you got.",
        ),
        input={"name": name},
        deadline=None if seconds is None else time.monotonic() + seconds,
        cancelled=threading.Event(),
        run_id="run",
        path=name,
        attempt=1,
    )
    return replace(request, **changes)


def later(request: Dispatch) -> Dispatch:
    """Attempt 2 of the same step, whose attempt 1 has an unknown fate."""
    sent = request.sent
    again = replace(sent, session_key=sent.session_key.replace("-a1", "-a2"), key=sent.key[:-1] + "2")
    return replace(request, sent=again, attempt=2, earlier=(sent,))


def output(outcome: Any) -> dict[str, Any]:
    assert isinstance(outcome, Succeeded), outcome
    assert isinstance(outcome.output, dict)
    return outcome.output


def error_code(outcome: Any) -> ErrorCode:
    assert isinstance(outcome, Failed), outcome
    return outcome.error.code


def settle(driver: Gateway, place: Endpoint, request: Dispatch) -> Succeeded | Failed | Cancelled:
    """The end of an attempt as the engine comes to it: sent when the gateway is there, looked up when accepted."""
    while True:
        found = poll(lambda: _sent(driver.dispatch(place, request)), 20, "a gateway that takes the work")
        if not isinstance(found, Accepted):
            return found
        end = poll(lambda: _looked_up(driver, place, request.sent), 20, "the end of the accepted attempt")
        if not isinstance(end, Again):
            return end


def _sent(found: Any) -> Any:
    return found if isinstance(found, Succeeded | Failed | Cancelled | Accepted) else None


def _looked_up(driver: Gateway, place: Endpoint, sent: Sent) -> Succeeded | Failed | Again | None:
    try:
        return driver.look_up(place, sent)
    except UnavailableError:
        return None  # later it says


def address_file(data_dir: Path, address: Address) -> None:
    """Write DATA_DIR/gateway.json as a local gateway does."""
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / "gateway.json").write_text(f'{{"url": "{address.url}", "token": "{address.token}"}}')
