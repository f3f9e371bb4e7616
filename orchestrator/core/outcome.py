"""What a handler can say of its step: a closed set of signals, interpreted by one `match`."""

from dataclasses import dataclass, field
from typing import Any

from models.errors import TRANSIENT, ErrorCode
from orchestrator.core.lanes import Lane
from orchestrator.core.people import Awaited, Question

MOST_TOKENS = 2**53  # of one attempt
MOST_COST = 10**15  # micro-cents of one attempt, so that the sums of a run fit their columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an attempt used.

    tokens_in: all that went in, `cached_in` of them from the provider's cache. cost_microcents: as the gateway or
    the handler says; a price of the workspace or of the table goes before it; None: it does not say.
    """

    agent: str | None = None
    model: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cached_in: int | None = None
    cost_microcents: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepError:
    """Why a step failed; `details` is JSON."""

    code: ErrorCode
    message: str
    transient: bool
    details: Any = None

    @classmethod
    def of(
        cls, code: ErrorCode, message: str, *, details: Any = None, transient: bool | None = None
    ) -> "StepError":
        """An error of a class, transient as the class is unless said otherwise."""
        return cls(
            code=code,
            message=message,
            transient=code in TRANSIENT if transient is None else transient,
            details=details,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "code": self.code.value,
            "message": self.message,
            "transient": self.transient,
            "details": self.details,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Emitted:
    """An event of the workflow's own; `type` as `core.event_types` allows it."""

    type: str
    data: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """Done. `route` selects router edges, `terminal` ends the branch (all out-edges dead).

    emits: written into the run's log with the step's end.
    """

    output: Any
    route: str | None = None
    terminal: bool = False
    usage: Usage | None = None
    variables: dict[str, Any] = field(default_factory=dict)
    emits: tuple[Emitted, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The attempt failed; the retry policy, then the error port, decide what follows."""

    error: StepError
    usage: Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A run to be created under the id `run_id`, by which it is known before it is there.

    version: None = the current one. wait: the step ends with that run, else as soon as it is created.
    """

    run_id: str
    workflow: str
    version: int | None
    inputs: dict[str, Any]
    wait: bool = True

    def to_json(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "workflow": self.workflow,
            "version": self.version,
            "inputs": self.inputs,
            "wait": self.wait,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The step parks, without worker or lease, until something outside completes it.

    `seconds` from now until the step wakes by itself: its handler is asked for the answer where it can give one
    (`ports.Answering`), and again at growing intervals; otherwise the step succeeds (a timer). None: only from
    outside. A reason that begins with an error code and a colon names what the step fails with when its time is
    over, TIMEOUT otherwise. `call`: the run that it waits for, to be created once it is parked. `lane`: where it
    waits for its turn among others, to be executed again when that comes. `output`: what a timer's step succeeds
    with, {} by default. `asks`, `awaits`: the approval or the signal that it waits for;
    `seconds` is its expiry then.
    """

    reason: str
    seconds: float | None = None
    call: Call | None = None
    lane: Lane | None = None
    output: Any = None
    asks: Question | None = None
    awaits: Awaited | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """The whole run pauses; `resume` completes this step with the input that is given then."""

    reason: str
    expected_input: dict[str, Any] | None = None  # JSON Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """The handler stopped because the attempt was given up; its result counts for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """What a parked step waited for is there: its handler is to be executed again, under the same attempt."""


Outcome = Succeeded | Failed | Waiting | Paused | Cancelled
