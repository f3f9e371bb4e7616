"""Following a run: its events in order through every cut, and its end."""

import time
from collections.abc import Generator
from itertools import count
from typing import Any, Literal, TypedDict

from orchestrator.client.answers import Event, Run
from orchestrator.client.errors import WaitTimedOut
from orchestrator.client.patience import PASSING, Deadline, Grace, pause
from orchestrator.client.request import Request
from orchestrator.client.sse import messages
from orchestrator.client.transport import Transport

_SILENCE = 45.0  # seconds; the API's heartbeat comes every 15
_GRACE = 60.0
_NEXT = 0.1  # seconds between streams that end before the run does
_NO_REPLAY = 10**15  # beyond every log: such a stream is silent, and ends with the run
_LEAST_SILENCE = 0.05
_LEAST_ANSWER = 1.0  # a slow answer at the deadline is still one
_END_EVENTS = frozenset({"run.completed", "run.failed", "run.aborted", "run.compensated"})
_END_STATUSES = frozenset({"success", "failed", "aborted", "compensated"})


class Chunk(TypedDict):
    """What a step streams, as it is heard live: `data` is {attempt, index, text, tokens}; it is in no log."""

    seq: None
    type: Literal["stream.chunk", "stream.done"]
    run_id: str
    step: str
    at: str
    data: dict[str, Any]


Streamed = Event | Chunk


def events(transport: Transport, run: str, after: int) -> Generator[Event, None, None]:
    """The events of the run at path `run` from after number `after` to its end, each once."""
    for event in streamed(transport, run, after):
        if event["seq"] is not None:
            yield event


def streamed(transport: Transport, run: str, after: int) -> Generator[Streamed, None, None]:
    """The same with what steps stream between them, which moves no place in the log.

    What a stream that ended too early still owed is read from the log where the run has ended, else from
    another stream.
    """
    grace = Grace(_GRACE)
    for streams in count():
        ended = False
        try:
            if streams and _get(transport, run, transport.timeout)["status"] in _END_STATUSES:
                for event in transport.pages(f"{run}/events", None, after=after):
                    after = event["seq"]
                    yield event
                return
            with transport.stream(_stream(run), after, _SILENCE) as lines:
                grace.answered()
                for message in messages(lines):
                    heard: Streamed = message.json()
                    after = int(message.id or after)
                    ended = ended or heard["type"] in _END_EVENTS
                    yield heard
            if ended:
                return
            time.sleep(_NEXT)
        except PASSING as error:
            grace.failed(error)


def end(transport: Transport, run: str, timeout: float | None) -> Run:
    """The run at path `run` once it has ended. Raises WaitTimedOut after `timeout` seconds."""
    deadline, grace, rest = Deadline(timeout), Grace(_GRACE), 0.0
    while True:
        try:
            found = _get(transport, run, max(_LEAST_ANSWER, min(transport.timeout, deadline.left)))
        except PASSING as error:
            grace.failed(error, most=deadline.left)
            continue
        grace.answered()
        if found["status"] in _END_STATUSES:
            return found
        if timeout is not None and deadline.left <= 0:
            raise WaitTimedOut(found, timeout)
        time.sleep(max(0.0, min(deadline.left, rest)))
        rest = _NEXT
        _listen(transport, run, deadline)


def _listen(transport: Transport, run: str, deadline: Deadline) -> None:
    """Return when the run may have ended, at the deadline at the latest.

    No read may outlast the deadline, and a stream's patience is set when it is opened: so each stream may be
    silent for half of what is left, and one that has more patience than there is time is opened anew.
    """
    silence = max(_LEAST_SILENCE, min(_SILENCE, deadline.left / 2))
    try:
        with transport.stream(_stream(run), _NO_REPLAY, silence) as lines:
            for _ in lines:
                if deadline.left < silence:
                    return
    except PASSING as error:
        time.sleep(max(0.0, min(deadline.left, pause(1, error))))


def _get(transport: Transport, run: str, timeout: float) -> Run:
    found: Run = transport.send_once(Request(method="GET", path=run), timeout)
    return found


def _stream(run: str) -> Request:
    return Request(method="GET", path=f"{run}/stream")
