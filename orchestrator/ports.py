"""The seams: what handlers, gateways and clocks look like from the engine. Protocols and plain data."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

from models.errors import UnavailableError
from orchestrator.core.nodetype import NodeType
from orchestrator.core.outcome import Again, Cancelled, Failed, Outcome, Succeeded
from orchestrator.core.routing import Wanted
from orchestrator.settings import Settings


class Clock(Protocol):
    """Virtual time, for what is due: seconds since 1970, and how many real seconds a virtual span takes."""

    def now(self) -> float: ...

    def real(self, seconds: float) -> float: ...


def _silence() -> None:
    """Nobody listens for heartbeats."""


@dataclass(slots=True, kw_only=True)
class StepContext:
    """All that a handler sees of its step.

    fields: the node's own fields with {{ }} resolved (EXPRESSION, JSONATA and CASES fields as written).
    evaluate: CEL over the step's names; raises orchestrator.core.conditions.ConditionError.
    deadline: of `time.monotonic()`, None = no timeout. cancelled: set when the attempt was given up.
    idempotency_key: the same for all attempts of the step.
    lost: numbers of earlier attempts whose fate is unknown (WORKER_LOST), newest first.
    beat: writes a heartbeat down.
    no: the step's number in its run. rank: its place among those that wait for the same, lower ones go first.
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
    beat: Callable[[], None] = _silence
    no: int = 0
    rank: int = 0

    def heartbeat(self) -> None:
        """Say that the handler is alive, as often as you like: its node's `heartbeat` is how long it may be silent."""
        self.beat()

    def remaining(self, at_most: float) -> float:
        """Seconds left, never above `at_most`, never below 0."""
        if self.deadline is None:
            return at_most
        return max(0.0, min(at_most, self.deadline - time.monotonic()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What an agent is told, beside the step's input."""

    title: str
    description: str = ""
    priority: str | None = None
    tags: tuple[str, ...] = ()


class Agents(Protocol):
    """The agents of a workspace, wherever they are: the one seam between steps and gateways."""

    def dispatch(self, ctx: StepContext, wanted: Wanted, task: Task, session: str) -> Outcome:
        """Have an attempt done by an agent.

        session: `attempt` (a fresh one), `run`, or the name of one that is kept across steps. Succeeded({text,
        output, usage, model}), Failed, Cancelled, or Waiting: for an agent to be there, or for one to come to
        an end. Never raises. Executed again after Again it goes on where the attempt stood.
        """
        ...

    def answer(self, parked: "Parked") -> Succeeded | Failed | Again | None:
        """What became of an attempt that waits; None: it goes on. Raises UnavailableError."""
        ...

    def stop(self, run_id: str, no: int, attempt: int) -> None:
        """End the work of an attempt where it was sent. Raises OrchestratorError when it has to be tried again."""
        ...


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

        Failed: VALIDATION (no URL or header that can be sent), POLICY_DENIED, NETWORK, TIMEOUT; the last two with
        details {"reached": false} where no connection was made, so that nothing was sent. Never raises.
        """
        ...

    def refusal(self, url: str, seconds: float) -> str | None:
        """Why nothing is sent to a URL: it is none, its name does not resolve in time, or leads where nothing may.

        None: something would be sent now. What a name leads to may change, so each `send` looks again.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignCall:
    """One task for a worker of another application on our broker.

    queue: one that the application consumes. headers: shown to the task as `self.request.headers`. expires:
    seconds after which no worker may begin it any more. wakes: (run_id, no, attempt) that its end wakes.
    """

    task_id: str
    name: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    queue: str
    headers: Mapping[str, str]
    expires: float | None
    wakes: tuple[str, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignValue:
    """What a foreign task returned, as JSON."""

    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignError:
    """The exception that a foreign task ended with: its class's name and module, and what it says."""

    name: str
    module: str | None
    message: str


class ForeignTasks(Protocol):
    """Celery tasks of other applications. Each call is bounded in time, and raises UnavailableError."""

    def send(self, call: ForeignCall) -> None:
        """Publish the task. It may have been published when this raises."""
        ...

    def result(self, task_id: str) -> ForeignValue | ForeignError | None:
        """What came of a task; None while there is nothing, whether it waits, works or is not known."""
        ...

    def forget(self, task_id: str) -> None:
        """Remove what came of a task."""
        ...

    def revoke(self, task_id: str) -> None:
        """Ask all workers not to begin a task; one that works on it goes on."""
        ...


class NoForeignTasks:
    """For processes that have no broker."""

    def send(self, call: ForeignCall) -> None:
        raise _no_broker(call.task_id)

    def result(self, task_id: str) -> ForeignValue | ForeignError | None:
        raise _no_broker(task_id)

    def forget(self, task_id: str) -> None:
        raise _no_broker(task_id)

    def revoke(self, task_id: str) -> None:
        raise _no_broker(task_id)


def _no_broker(task_id: str) -> UnavailableError:
    return UnavailableError(f"this process has no broker; task {task_id} is reached from workers alone")


class People(Protocol):
    """What people and signals have said to parked steps. Raises what the database raises."""

    def decision(self, parked: "Parked") -> Succeeded | Failed | None:
        """What came of an attempt's approval; None while nobody and no time has decided it."""
        ...

    def signal(self, parked: "Parked") -> Succeeded | Failed | None:
        """What came of the signal that an attempt waits for; None while there is none."""
        ...


class Nobody:
    """For processes without a database: nobody says anything."""

    def decision(self, _parked: "Parked") -> None:
        return None

    def signal(self, _parked: "Parked") -> None:
        return None


class RealTime:
    """The clock on the wall."""

    def now(self) -> float:
        return time.time()

    def real(self, seconds: float) -> float:
        return seconds


class Prices(Protocol):
    """What models cost by a table that is there without the network."""

    def of(self, model: str, tokens_in: int, tokens_out: int, cached_in: int = 0) -> int | None:
        """What these tokens cost, in micro-cents; None for a model that the table has not.

        model: `provider/model` or a model's name alone. cached_in: of tokens_in, what came from the provider's cache.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a handler may use, given to it once when it is made."""

    settings: Settings
    agents: Agents
    outbound: Outbound
    foreign: ForeignTasks = field(default_factory=NoForeignTasks)
    people: People = field(default_factory=Nobody)
    clock: Clock = field(default_factory=RealTime)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """A parked attempt, as far as its work elsewhere is named by it; members as in StepContext."""

    run_id: str
    workspace_id: str
    no: int
    path: str
    attempt: int
    idempotency_key: str


@runtime_checkable
class Answering(Protocol):
    """A handler that parks steps whose answer lies somewhere: it is asked for it until the attempt has ended."""

    def answer(self, parked: Parked) -> Succeeded | Failed | Again | None:
        """The answer, None while there is none; Again where the step is to be executed again under its attempt.

        Raises UnavailableError when it can't be looked for now; any other exception fails the attempt.
        """
        ...
