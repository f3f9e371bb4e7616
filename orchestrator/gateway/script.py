"""Scripted behaviour: a line `@gateway {…}` in a message says what the run does, for tests and trials.

    @gateway {"delay": 0.2, "reply": {"score": 7}}
    @gateway {"stream": ["one ", "two"], "pause": 0.5, "fail": "model", "times": 2}

In the order in which they take effect:

drop: "unaccepted" cuts the connection before the run is known, "accepted" (or true) once it goes on, "final" instead of
its answer; once a key.
silent: true sends no frame at all for the request, "final" only no last one; the run goes on all the same.
delay: seconds before anything is said.
stream: pieces of text, each told by events, and joined to the answer; pause: seconds after each piece, and with it
the tokens so far are told after each.
crash: end the gateway as kill -9 would; a turn that it resumes by itself afterwards does not crash again. Refused
where the gateway is part of another process.
hang: go on until aborted. timeout: end as a run that took too long.
fail: after the answer was asked for "model" (500 at the provider), "credit" (402), "rate" (429), "request" (400),
"superseded" (the agent's configuration was loaded anew), "empty" (no reply); before the run is accepted "draining",
"unknown_agent", "forbidden", "invalid".
reply: the answer as text, or JSON that is answered as such. file: the answer is that file of the agent's workspace.
size: the answer is of that many characters, 64 Mi at most; the gateway's own limit of a frame is 26,214,400 bytes.
model, usage: those of the answer ({"input", "output", "cost"} in tokens and dollars; null: the gateway does not know).
garbage: "noise" sends frames that are none before the answer, "final" an answer that is none.
twice: the answer comes two times.
settle: seconds after the end in which the same key, sent again, still says in_flight, though agent.wait knows better.
times: all this for the first so many attempts, by the number that ends the idempotency key; after them only reply,
model and usage hold.
"""

import json
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from orchestrator.gateway.files import NAMES
from orchestrator.gateway.refusal import invalid

PROVIDER_FAILURES = {
    "model": "500 the provider is overloaded",
    "credit": "402 insufficient credit at the provider",
    "rate": "429 rate limit exceeded at the provider",
    "request": "400 the provider refused the request",
    "superseded": "prepared model runtime plugin generation was superseded",
}
_MARK = "@gateway "
_MOST = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One directive; see the module."""

    delay: float = 0.0
    reply: Any = None
    file: str | None = None
    stream: tuple[str, ...] = ()
    pause: float = 0.0
    size: int = 0
    model: str | None = None
    usage: Any = ...
    fail: str | None = None
    timeout: bool = False
    hang: bool = False
    crash: bool = False
    drop: str | bool = False
    garbage: str | None = None
    twice: bool = False
    settle: float = 0.0
    silent: str | bool = False
    times: int | None = None


_TYPES: dict[str, tuple[type, ...]] = {
    "delay": (int, float),
    "reply": (object,),
    "file": (str,),
    "stream": (list,),
    "pause": (int, float),
    "size": (int,),
    "model": (str,),
    "usage": (dict, type(None)),
    "fail": (str,),
    "timeout": (bool,),
    "hang": (bool,),
    "crash": (bool,),
    "drop": (str, bool),
    "garbage": (str,),
    "twice": (bool,),
    "settle": (int, float),
    "silent": (str, bool),
    "times": (int,),
}
_CHOICES: dict[str, Container[Any]] = {
    "fail": (*PROVIDER_FAILURES, "empty", "draining", "unknown_agent", "forbidden", "invalid"),
    "drop": (False, True, "accepted", "unaccepted", "final"),
    "garbage": ("noise", "final"),
    "silent": (False, True, "final"),
    "file": NAMES,
    "size": range(_MOST + 1),
}
_PLAIN = Script()


def script_of(message: str, attempt: int) -> Script:
    """The message's directive, where it holds for this attempt. Raises RefusalError for one that is wrong."""
    for line in message.splitlines():
        if line.startswith(_MARK):
            found = _parse(line.removeprefix(_MARK))
            holds = found.times is None or attempt <= found.times
            return found if holds else Script(reply=found.reply, model=found.model, usage=found.usage)
    return _PLAIN


def attempt_of(key: str, mark: str = ":") -> int:
    """The number after the last `mark` of a key, else 1."""
    number = key.rpartition(mark)[2]
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 1


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
