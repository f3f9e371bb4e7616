"""The bridge to gateways: what their drivers look like from the engine, which knows none of their protocols."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from orchestrator.core.outcome import Again, Cancelled, Failed, Succeeded
from orchestrator.ports import Outbound, Task
from orchestrator.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A gateway as its driver reaches it. `id` is the gateway's; `url` empty where the driver finds it itself.

    device_token: what the gateway gave this client when it was paired.
    """

    id: str
    kind: str
    url: str
    token: str | None = field(default=None, repr=False)
    device_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """Work as a gateway knows it, enough to find it again from any process. `agent`: its id there."""

    agent: str
    session_key: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of an answer while it is written. tokens: of the whole answer so far, as far as it is known."""

    text: str
    tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """One attempt of an agent step, for a gateway.

    sent.key is the attempt's idempotency key. deadline as in StepContext. patience: seconds that the caller waits
    for the end once the gateway has taken the work (None: to the end). earlier: attempts at this gateway whose fate
    is unknown, newest first, to be looked up, and taken over, before anything new is sent. callback_url: where an
    agent without a connection answers. ended: called once, from any thread, with the outcome of work that
    `dispatch` answered Accepted for, where this process sees its end. piece: called with what the agent writes,
    from any thread; must not block.
    """

    sent: Sent
    task: Task
    input: dict[str, Any]
    deadline: float | None
    cancelled: threading.Event
    run_id: str
    path: str
    attempt: int
    patience: float | None = None
    earlier: tuple[Sent, ...] = ()
    callback_url: str | None = None
    ended: Callable[[Succeeded | Failed], None] | None = None
    piece: Callable[[Piece], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The gateway has the work and it goes on: `sent` names it (an earlier attempt's, when that was taken over)."""

    sent: Sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsent:
    """The gateway was not reached, or would not let us in: nothing was sent, later it may be. `reason` for people."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """A gateway that answers. agents: ids of those that it lists, None where it lists none."""

    version: str | None = None
    agents: tuple[str, ...] | None = None
    device_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayParts:
    """What a driver may use, given to it once when it is made.

    device_seed: 32 bytes from which this installation's identity at gateways is made. paired: called with a
    gateway's id and the device token that it gave.
    """

    settings: Settings
    outbound: Outbound
    device_seed: bytes = field(repr=False)
    paired: Callable[[str, str], None]


class Gateway(Protocol):
    """The driver of one kind of gateway: made once a process, for all gateways of the kind, used by many threads.

    A plug-in is a class of one argument, GatewayParts, named by an entry
    point of the group `orchestrator.gateways`; the name is the kind.
    """

    def dispatch(self, endpoint: Endpoint, request: Dispatch) -> Succeeded | Failed | Cancelled | Accepted | Unsent:
        """Have one attempt done. Never raises."""
        ...

    def look_up(self, endpoint: Endpoint, sent: Sent) -> Succeeded | Failed | Again | None:
        """What became of work, without waiting for it: None while it goes on, Again where it never arrived.

        Raises UnavailableError when the gateway does not say.
        """
        ...

    def stop(self, endpoint: Endpoint, sent: Sent) -> None:
        """End work; work that is over is fine. Raises OrchestratorError when the gateway can't be told."""
        ...

    def ping(self, endpoint: Endpoint, timeout: float) -> Pong:
        """Ask whether the gateway is well. Raises OrchestratorError with the reason when it is not."""
        ...

    def provision(self, endpoint: Endpoint, agent: str, files: Mapping[str, str]) -> None:
        """Write an agent's workspace files where they differ, the agent too where it is missing.

        Raises OrchestratorError; InvalidError for what another try can't mend.
        """
        ...

    def close(self) -> None: ...
