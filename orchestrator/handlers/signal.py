"""The `signal` node: something outside goes on. Source: spec "definition", Node types and Outputs."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from models.base import dump_json
from models.errors import ErrorCode
from orchestrator.core import durations
from orchestrator.core.nodetype import NOT_SHORT, Field, FieldKind, NodeType
from orchestrator.core.outcome import Failed, Outcome, StepError, Succeeded, Usage, Waiting
from orchestrator.core.people import MOST_SIGNAL_BYTES, Awaited, is_too_long
from orchestrator.ports import Parked, Parts, StepContext

_LONGEST_NAME = 255
_LONGEST_KEY = 1_000


def _waits(raw: Mapping[str, Any]) -> float:
    if "expires" not in raw:
        return math.inf
    return max(NOT_SHORT, durations.seconds(raw["expires"]) or 0.0)


class SignalHandler:
    """Output: the data of the signal. One that came before is taken; one that never comes is a failure, EXPIRED."""

    TYPE: ClassVar[NodeType] = NodeType(
        type="signal",
        fields=(
            Field(name="signal", kind=FieldKind.STRING, required=True, stored=True),
            Field(name="key", kind=FieldKind.VALUE, stored=True),
            Field(name="schema", kind=FieldKind.SCHEMA),
            Field(name="expires", kind=FieldKind.DURATION, stored=True),
        ),
        waits=_waits,
        shape=("[", "]"),
    )

    def __init__(self, parts: Parts) -> None:
        self._people = parts.people

    def execute(self, ctx: StepContext) -> Outcome:
        """Parks until the signal is there."""
        name, key, fields = ctx.fields["signal"], ctx.fields.get("key"), ctx.fields
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
            return _invalid(f"signal is a name of 1 to {_LONGEST_NAME} characters, not {name!r:.200}")
        text = key if isinstance(key, str) else dump_json(key)
        if "key" in fields and not (isinstance(key, str | int) and 0 < len(text) <= _LONGEST_KEY):
            return _invalid(f"key is a string of 1 to {_LONGEST_KEY} characters or a number, not {key!r:.200}")
        if key is not None and is_too_long(name, text):
            return _invalid(f"signal and key have at most {MOST_SIGNAL_BYTES:,} bytes of UTF-8 together")
        expires = durations.seconds(fields["expires"]) if "expires" in fields else None
        if "expires" in fields and expires is None:
            return _invalid(f"{fields['expires']!r:.200} is no duration; write such as 30m, 2h, 7d")
        awaited = Awaited(name=name, key=None if key is None else text, schema=fields.get("schema"))
        where = "" if key is None else f" for {text}"
        return Waiting(reason=f"the signal {name}{where}", seconds=expires, awaits=awaited)

    def answer(self, parked: Parked) -> Succeeded | Failed | None:
        """The signal, once it is there or its time is over."""
        return self._people.signal(parked)


def _invalid(message: str) -> Failed:
    return Failed(error=StepError.of(ErrorCode.VALIDATION, message), usage=Usage(cost_microcents=0))
