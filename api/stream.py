"""A run's events as a stream (server-sent events, WHATWG HTML 9.2)."""

import re

from flask import Response, request

from api.places import Place
from api.runtime import Runtime
from models.errors import InvalidError, Problem

_SEQ = re.compile(r"[0-9]{1,18}", re.ASCII)


def respond(
    runtime: Runtime, place: Place, run_id: str, after: int, headers: dict[str, str] | None = None
) -> Response:
    """The stream from after event `after`; the client's place is given back when it ends."""
    response = Response(runtime.hub.stream(run_id, after), content_type="text/event-stream; charset=utf-8")
    response.headers.update({"Cache-Control": "no-store", "X-Accel-Buffering": "no", **(headers or {})})
    response.call_on_close(place.leave)
    return response


def last_event_id(default: int) -> int:
    """The number in Last-Event-ID, which a client sends when it comes back. Raises InvalidError."""
    text = request.headers.get("Last-Event-ID")
    if text is None or text == "":
        return default
    if not _SEQ.fullmatch(text):
        message = f"Last-Event-ID is {text[:40]!r}; send the id of the last event that you got, a number"
        raise InvalidError(message, [Problem(pointer="", code="INVALID_VALUE", message=message)])
    return int(text)


def wanted() -> bool:
    """Whether the client asked for a stream rather than for JSON."""
    accepted = request.accept_mimetypes
    return accepted.best_match(["application/json", "text/event-stream"]) == "text/event-stream"
