"""What is taken of what a handler said: checked, without secrets, cut to what the database holds.

Source: spec "reliability" §3 R11: a refusal is the step's failure, never a step that stays open.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from models.base import dump_json
from models.errors import ErrorCode
from orchestrator.core import event_types, redact, untrusted
from orchestrator.core.outcome import (
    MOST_COST,
    MOST_TOKENS,
    Cancelled,
    Emitted,
    Failed,
    Outcome,
    Paused,
    StepError,
    Succeeded,
    Usage,
    Waiting,
)

PREVIEW_CHARACTERS = 1_000
_MESSAGE_CHARACTERS = 4_000
_DETAILS_BYTES = 16_384
_NAME_CHARACTERS = 255
_LONGEST_SECONDS = 100 * 366 * 86_400.0
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """max_nesting: levels of containers in any value. secrets: what is replaced wherever it stands."""

    max_nesting: int
    secrets: Collection[str]

    def accept(self, said: object) -> Outcome:
        """The outcome as it may be stored; Failed where it may not (VALIDATION), or is none (INTERNAL)."""
        match said:
            case Succeeded():
                return self._succeeded(said)
            case Failed(error=error):
                return Failed(error=self.shown(error), usage=_usage(said.usage))
            case Waiting(reason=reason, seconds=seconds):
                if seconds is not None and not 0 <= seconds <= _LONGEST_SECONDS:
                    return _refused(f"a step cannot wait for {seconds} seconds")
                parts = {
                    "inputs": None if said.call is None else said.call.inputs,
                    "output": said.output,
                    "approval": None if said.asks is None else said.asks.to_json(),
                    "signal": None if said.awaits is None else said.awaits.to_json(),
                }
                found = (self._problem(name, value) for name, value in parts.items() if value is not None)
                problem = next((each for each in found if each is not None), None)
                if problem is not None:
                    return _refused(problem)
                return replace(said, reason=self._text(reason))
            case Paused(reason=reason, expected_input=expected):
                problem = self._problem("expected input", expected)
                if problem is not None:
                    return _refused(problem)
                expected = redact.redact(expected, self.secrets)
                return Paused(reason=self._text(reason), expected_input=expected)
            case Cancelled():
                return said
        return Failed(
            error=StepError.of(ErrorCode.INTERNAL, f"the handler gave {type(said).__name__}, no outcome")
        )

    def shown(self, error: StepError) -> StepError:
        """An error without secrets, its message and details kept to a size."""
        return replace(error, message=self._text(error.message), details=self._details(error.details))

    def _succeeded(self, said: Succeeded) -> Outcome:
        emitted = [event.data for event in said.emits]
        parts = {"output": said.output, "variables": said.variables, "route": said.route, "events": emitted}
        problems = (self._problem(name, value) for name, value in parts.items() if value)
        problem = next((found for found in problems if found is not None), None)
        if problem is None:
            wrong = [key for key in said.variables if not _VARIABLE.fullmatch(key)]
            problem = f"{wrong[0]!r} is no name of a variable" if wrong else None
        if problem is None:
            problem = next(filter(None, (event_types.own_problem(event.type) for event in said.emits)), None)
        if problem is not None:
            return _refused(problem, _usage(said.usage))
        return replace(
            said,
            output=redact.redact(said.output, self.secrets),
            variables=redact.redact(said.variables, self.secrets),
            emits=tuple(self._emitted(event) for event in said.emits),
            usage=_usage(said.usage),
        )

    def _emitted(self, event: Emitted) -> Emitted:
        return Emitted(type=event.type, data=redact.redact(event.data, self.secrets))

    def _problem(self, name: str, value: Any) -> str | None:
        found = untrusted.problem(value, max_nesting=self.max_nesting)
        return None if found is None else f"the {name} is refused: {found.message}"

    def _text(self, text: object) -> str:
        shown: str = redact.redact(_clean(str(text)), self.secrets)
        return shown[:_MESSAGE_CHARACTERS]

    def _details(self, details: Any) -> Any:
        if details is None:
            return None
        if untrusted.problem(details, max_nesting=self.max_nesting) is not None:
            return {"refused": "the details were no plain JSON"}
        shown = redact.redact(details, self.secrets)
        text = dump_json(shown)
        return (
            shown
            if len(text) <= _DETAILS_BYTES
            else {"truncated": True, "preview": text[:PREVIEW_CHARACTERS]}
        )


def _refused(message: str, usage: Usage | None = None) -> Failed:
    return Failed(error=StepError.of(ErrorCode.VALIDATION, message, transient=False), usage=usage)


def _usage(usage: Usage | None) -> Usage | None:
    """What does not fit its column, or is beyond all reason, is cut or unknown."""
    if usage is None:
        return None
    return Usage(
        agent=_name(usage.agent),
        model=_name(usage.model),
        tokens_in=_count(usage.tokens_in, MOST_TOKENS),
        tokens_out=_count(usage.tokens_out, MOST_TOKENS),
        cached_in=_count(usage.cached_in, MOST_TOKENS),
        cost_microcents=_count(usage.cost_microcents, MOST_COST),
    )


def _name(name: str | None) -> str | None:
    return None if name is None else _clean(name)[:_NAME_CHARACTERS]


def _count(count: int | None, most: int) -> int | None:
    return count if count is not None and 0 <= count <= most else None


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
