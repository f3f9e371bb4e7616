"""What a mock says in the place of the outside world."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import ErrorCode
from orchestrator.core import agent_answer
from orchestrator.core.outcome import Failed, StepError, Succeeded, Usage
from orchestrator.testing.clock import span

MICROCENTS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An attempt that reached the outside world: what a mock is called with, and what `calls` lists.

    fields: the node's own fields, resolved. workflow: the name of its run's.
    """

    run_id: str
    workflow: str
    path: str
    node: str
    type: str
    attempt: int
    input: dict[str, Any]
    fields: Mapping[str, Any]
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class Done:
    """The attempt succeeds: what the other side answers, after some time, at some cost.

    route: for node types that select one. Costs are those of an agent's or a handler's usage.
    """

    output: Any = None
    after: str | float | None = None
    cost_cents: float | None = None
    model: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    route: str | None = None


@dataclass(frozen=True, slots=True)
class Fail:
    """The attempt fails with an error of a class (docs/definition.md, Errors); `transient` as the class is."""

    code: str
    message: str = "a mock said so"
    transient: bool | None = None
    details: Any = None
    after: str | float | None = None
    cost_cents: float | None = None

    def __post_init__(self) -> None:
        if self.code not in ErrorCode.__members__:
            known = ", ".join(ErrorCode.__members__)
            raise ValueError(f"{self.code!r} is no class of errors; it is one of {known}")


class Never:
    """The attempt runs and runs: until its timeout, when time is skipped, or until the run is stopped."""

    def __repr__(self) -> str:
        return "NEVER"


NEVER = Never()
Reply = Callable[[Call], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What came of an attempt, and after how many seconds; None: at once, infinite: never."""

    outcome: Succeeded | Failed
    after: float | None = None


def said(mock: Any, call: Call) -> Said:
    """What a mock says to a call: a value, a `Done`, a `Fail`, NEVER, a function of the call, or a list of these,
    one an attempt, the last one from then on."""
    if isinstance(mock, list):
        if not mock:
            raise ValueError(f"the mock of {call.path!r} is an empty list: there is no outcome for an attempt")
        mock = mock[min(call.attempt, len(mock)) - 1]
    if callable(mock) and not isinstance(mock, type):
        mock = mock(call)
    match mock:
        case Never():
            return Said(outcome=Succeeded(output=None), after=float("inf"))
        case Fail():
            return Said(outcome=_failed(mock), after=None if mock.after is None else span(mock.after))
        case Done():
            return Said(outcome=_done(mock, call), after=None if mock.after is None else span(mock.after))
        case _:
            return Said(outcome=_done(Done(mock), call))


def _failed(fail: Fail) -> Failed:
    error = StepError.of(
        ErrorCode(fail.code), fail.message, details=fail.details, transient=fail.transient
    )
    usage = None if fail.cost_cents is None else Usage(cost_microcents=round(fail.cost_cents * MICROCENTS))
    return Failed(error=error, usage=usage)


def _done(done: Done, call: Call) -> Succeeded:
    usage = Usage(
        agent=call.fields.get("agent") if call.type == "agent" else None,
        model=done.model,
        tokens_in=done.tokens_in,
        tokens_out=done.tokens_out,
        cost_microcents=None if done.cost_cents is None else round(done.cost_cents * MICROCENTS),
    )
    if call.type == "agent":
        return _answer(done.output, usage)
    output = _response(done.output) if call.type == "http" else done.output
    return Succeeded(output=output, route=done.route, usage=usage)


_OF_AGENT = ("text", "output", "usage", "model")


def _answer(given: Any, usage: Usage) -> Succeeded:
    """An agent's output {text, output, usage, model}, of what it said: that shape, a text, or an object."""
    if isinstance(given, dict) and "text" in given and set(given) <= set(_OF_AGENT):
        made = agent_answer.answered(given["text"], usage, given.get("output"))
        return Succeeded(output={**made.output, **given}, usage=usage)
    if isinstance(given, str):
        return agent_answer.answered(given, usage)
    return Succeeded(output={**agent_answer.answered(_text(given), usage).output, "output": given}, usage=usage)


def _text(value: Any) -> str:
    import json

    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(value)  # the value itself is refused as a handler's would be


def _response(given: Any) -> Any:
    """An `http` step's output {status, headers, body}, of that shape or of the body alone."""
    whole = isinstance(given, dict) and "status" in given and set(given) <= {"status", "headers", "body"}
    return {"status": 200, "headers": {}, "body": None, **given} if whole else {
        "status": 200, "headers": {}, "body": given
    }


Mock = Any
Mocks = Mapping[str, Mock]
Attempts = Sequence[Mock]
