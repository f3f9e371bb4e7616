"""The `wait` node: a timer. Source: spec "definition", Node types and Outputs."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from models.errors import ErrorCode
from orchestrator.core import durations, moments
from orchestrator.core.nodetype import NOT_SHORT, Field, FieldKind, NodeType
from orchestrator.core.outcome import Failed, Outcome, StepError, Succeeded, Usage, Waiting
from orchestrator.ports import Parts, StepContext

_UNTIL = "write RFC 3339 with its offset, such as 2026-01-31T08:00:00Z, or seconds since 1970"


def _mistakes(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "duration" in raw and "until" in raw:
        yield "/until", "a wait has a duration or an end; leave one of them out"
    until = raw.get("until", 0)
    written = isinstance(until, str) and "{{" in until
    if not written and moments.seconds(until) is None:
        yield "/until", f"{until!r} is no moment; {_UNTIL}"


def _waits(raw: Mapping[str, Any]) -> float:
    found = durations.seconds(raw.get("duration"))
    return NOT_SHORT if found is None else found


class WaitHandler:
    """Output: `{waited}`, in seconds. Time is the virtual clock's."""

    TYPE: ClassVar[NodeType] = NodeType(
        type="wait",
        fields=(
            Field(name="duration", kind=FieldKind.DURATION, stored=True),
            Field(name="until", kind=FieldKind.VALUE, stored=True),
        ),
        one_of=(("duration", "until"),),
        waits=_waits,
        mistakes=_mistakes,
        shape=("(", ")"),
    )

    def __init__(self, parts: Parts) -> None:
        self._clock = parts.clock

    def execute(self, ctx: StepContext) -> Outcome:
        """Parks until the time has come; what lies behind already is no wait."""
        found = self._seconds(ctx.fields)
        if isinstance(found, str):
            return Failed(error=StepError.of(ErrorCode.VALIDATION, found), usage=Usage(cost_microcents=0))
        waited = {"waited": round(found, 3)}
        if found == 0:
            return Succeeded(output=waited, usage=Usage(cost_microcents=0))
        return Waiting(reason="its time", seconds=found, output=waited)

    def _seconds(self, fields: Mapping[str, Any]) -> float | str:
        """How long; a sentence where the fields do not say it."""
        if "duration" in fields:
            found = durations.seconds(fields["duration"])
            return f"{fields['duration']!r} is no duration; write such as 30s, 2h, 7d" if found is None else found
        until = moments.seconds(fields.get("until"))
        if until is None or not math.isfinite(until):
            return f"{fields.get('until')!r} is no moment; {_UNTIL}"
        return max(0.0, until - self._clock.now())
