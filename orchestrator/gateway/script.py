"""Scripted behaviour: a line `@gateway {…}` in a message says what the run does, for tests and trials.

    @gateway {"delay": 0.2, "reply": {"score": 7}}
    @gateway {"fail": "model", "times": 2}

delay: seconds before the answer. reply: text, or JSON that is answered as such. stream: pieces of text, sent as
events and joined to the answer. size: an answer of that many characters. model, usage: those of the answer
({"input", "output", "cost"} in tokens and dollars; null: the gateway does not know). fail: "model", "credit", "empty",
"draining", "unknown_agent", "forbidden", "invalid". timeout: end as a run that took too long. hang: go on until
aborted. drop: "accepted" (or true) cuts the connection once the run goes on, "unaccepted" before it is known; once a
key. garbage: "noise" sends frames that are none before the answer, "final" an answer that is none. twice: the
answer comes two times. silent: no frame at all. times: all this for the first so many attempts, by the number that
ends the idempotency key.
"""

import json
from dataclasses import dataclass
from typing import Any

from orchestrator.gateway.refusal import invalid

_MARK = "@gateway "


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One directive; see the module."""

    delay: float = 0.0
    reply: Any = None
    stream: tuple[str, ...] = ()
    size: int = 0
    model: str | None = None
    usage: Any = ...
    fail: str | None = None
    timeout: bool = False
    hang: bool = False
    drop: str | bool = False
    garbage: str | None = None
    twice: bool = False
    silent: bool = False
    times: int | None = None


_TYPES: dict[str, tuple[type, ...]] = {
    "delay": (int, float),
    "reply": (object,),
    "stream": (list,),
    "size": (int,),
    "model": (str,),
    "usage": (dict, type(None)),
    "fail": (str,),
    "timeout": (bool,),
    "hang": (bool,),
    "drop": (str, bool),
    "garbage": (str,),
    "twice": (bool,),
    "silent": (bool,),
    "times": (int,),
}
_CHOICES: dict[str, tuple[Any, ...]] = {
    "fail": ("model", "credit", "empty", "draining", "unknown_agent", "forbidden", "invalid"),
    "drop": (False, True, "accepted", "unaccepted"),
    "garbage": ("noise", "final"),
}
_PLAIN = Script()


def script_of(message: str, run_id: str | None) -> Script:
    """The message's directive, where it holds for this attempt; None stands for a run that was resumed.

    Raises RefusalError for a directive that is wrong.
    """
    for line in message.splitlines():
        if line.startswith(_MARK):
            found = _parse(line.removeprefix(_MARK))
            attempt = 1 << 30 if run_id is None else _attempt(run_id)
            holds = found.times is None or attempt <= found.times
            return found if holds else Script(reply=found.reply, model=found.model, usage=found.usage)
    return _PLAIN


def _parse(text: str) -> Script:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise invalid(f"@gateway directive: no JSON: {error}") from error
    if not isinstance(given, dict):
        raise invalid("@gateway directive: no object")
    for name, value in given.items():
        if not isinstance(value, _TYPES.get(name, ())) or value not in _CHOICES.get(name, (value,)):
            raise invalid(f"@gateway directive: {name} can't be {value!r}")
    return Script(**given | {"stream": tuple(str(piece) for piece in given.get("stream", ()))})


def _attempt(run_id: str) -> int:
    number = run_id.rpartition(":")[2]
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 1
