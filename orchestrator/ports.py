"""The seams: what handlers, gateways and clocks look like from the engine. Protocols and plain data."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

from orchestrator.core.nodetype import NodeType
from orchestrator.core.outcome import Cancelled, Failed, Outcome
from orchestrator.settings import Settings


class Clock(Protocol):
    """Virtual time, for what is due: seconds since 1970, and how many real seconds a virtual span takes."""

    def now(self) -> float: ...

    def real(self, seconds: float) -> float: ...


@dataclass(slots=True, kw_only=True)
class StepContext:
    """All that a handler sees of its step.

    fields: the node's own fields with {{ }} resolved (EXPRESSION, JSONATA and CASES fields as written).
    evaluate: CEL over the step's names; raises orchestrator.core.conditions.ConditionError.
    deadline: of `time.monotonic()`, None = no timeout. cancelled: set when the attempt was given up.
    idempotency_key: the same for all attempts of the step.
    lost: numbers of earlier attempts whose fate is unknown (WORKER_LOST), newest first.
    """

    run_id: str
    workspace_id: str
    workflow: str
    path: str
    node_id: str
    type: str
    attempt: int
    input: dict[str, Any]
    fields: Mapping[str, Any]
    idempotency_key: str
    evaluate: Callable[[str], Any]
    deadline: float | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    lost: tuple[int, ...] = ()

    def remaining(self, at_most: float) -> float:
        """Seconds left, never above `at_most`, never below 0."""
        if self.deadline is None:
            return at_most
        return max(0.0, min(at_most, self.deadline - time.monotonic()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """An attempt that was sent to a gateway by a process that is gone."""

    session_key: str
    idempotency_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """One attempt of an agent step, for a gateway.

    session_key and idempotency_key are those of the attempt; `deadline` as in StepContext.
    earlier: attempts of unknown fate, to be looked up, and taken over, before anything new is sent.
    """

    agent: str
    session_key: str
    idempotency_key: str
    title: str
    description: str
    input: dict[str, Any]
    priority: str | None
    tags: tuple[str, ...]
    deadline: float | None
    cancelled: threading.Event
    earlier: tuple[Earlier, ...] = ()


class Gateway(Protocol):
    """The bridge to agents: nothing of the engine knows a gateway's protocol."""

    def dispatch(self, request: Dispatch) -> Outcome:
        """Run one attempt to its end: Succeeded({text, output, usage, model}), Failed or Cancelled. Never raises."""
        ...

    def stop(self, session_key: str, idempotency_key: str) -> None:
        """End the work of an attempt. Raises OrchestratorError when the gateway can't be reached."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request to the outside. `deadline` is of `time.monotonic()` and holds for all of it, the answer too.

    max_bytes: a longer answer's body is cut there.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    deadline: float
    cancelled: threading.Event
    max_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """What came back. Header names in lower case; `cut` when the body was longer than asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool


class Outbound(Protocol):
    """The only way out over HTTP: guarded against requests to places that are not public."""

    def send(self, request: HttpRequest) -> HttpResponse | Failed | Cancelled:
        """Send once, follow no redirect.

        Failed: VALIDATION (no URL or header that can be sent), POLICY_DENIED, NETWORK, TIMEOUT. Never raises.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a handler may use, given to it once when it is made."""

    settings: Settings
    gateway: Gateway
    outbound: Outbound


class NodeHandler(Protocol):
    """One node type. Made once a process with `Parts`; `execute` is called by many threads at once.

    An exception out of `execute` is a failure of code INTERNAL.
    """

    TYPE: ClassVar[NodeType]

    def execute(self, ctx: StepContext) -> Outcome: ...


@runtime_checkable
class Stoppable(Protocol):
    """A handler whose attempts work elsewhere, and can be ended there when they were given up."""

    def stop_data(self, ctx: StepContext) -> dict[str, str]:
        """What names the attempt's work, from a context like the one it was executed with."""
        ...

    def stop(self, data: dict[str, str]) -> None:
        """End that work. Raises OrchestratorError when it has to be tried again."""
        ...
