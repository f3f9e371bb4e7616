"""A gateway that is a Python object: for tests of what the engine makes of what drivers say."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from models.errors import UnavailableError
from orchestrator.bridge import Accepted, Dispatch, Endpoint, Pong, Sent, Unsent
from orchestrator.core.outcome import Again, Cancelled, Failed, Succeeded
from orchestrator.services.deps import Deps


@dataclass(slots=True, kw_only=True)
class FakeGateway:
    """Answers pings with `pong`, or raises the reason; `asked` has every endpoint that was pinged."""

    pong: Pong | str = field(default_factory=Pong)
    asked: list[Endpoint] = field(default_factory=list)
    together: threading.Barrier | None = None

    def ping(self, endpoint: Endpoint, timeout: float) -> Pong:
        assert timeout > 0
        self.asked.append(endpoint)
        if self.together is not None:
            self.together.wait(10)
        if isinstance(self.pong, str):
            raise UnavailableError(self.pong)
        return self.pong

    def dispatch(
        self, endpoint: Endpoint, request: Dispatch
    ) -> Succeeded | Failed | Cancelled | Accepted | Unsent:
        return Unsent(reason="it only answers pings")

    def look_up(self, endpoint: Endpoint, sent: Sent) -> Succeeded | Failed | Again | None:
        return None

    def stop(self, endpoint: Endpoint, sent: Sent) -> None:
        return None

    def provision(self, endpoint: Endpoint, agent: str, files: Mapping[str, str]) -> None:
        return None

    def close(self) -> None:
        return None


def install(deps: Deps, *kinds: str) -> FakeGateway:
    """One fake driver for gateways of these kinds."""
    driver = FakeGateway()
    vars(deps)["gateways"] = dict.fromkeys(kinds or ("openclaw", "http", "local"), driver)
    return driver
