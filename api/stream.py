"""Events as a stream (server-sent events, WHATWG HTML 9.2)."""

import re
import socket
import struct
from collections.abc import Iterator

from flask import Response, request

from api.places import Place
from models.errors import InvalidError, Problem

STALLED = 60  # seconds
_SEQ = re.compile(r"[0-9]{1,18}", re.ASCII)


def respond(stream: Iterator[bytes], place: Place, headers: dict[str, str] | None = None) -> Response:
    """A stream; the client's place is given back when it ends.

    A client that takes nothing for `STALLED` seconds is cut off, so that its place becomes free; it comes back with
    Last-Event-ID.
    """
    _cut_off_who_stalls()
    response = Response(stream, content_type="text/event-stream; charset=utf-8")
    response.headers.update({"Cache-Control": "no-store", "X-Accel-Buffering": "no", **(headers or {})})
    response.call_on_close(place.leave)
    return response


def _cut_off_who_stalls() -> None:
    connection = request.environ.get("gunicorn.socket")
    if connection is not None:
        patience = struct.pack("ll", STALLED, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)


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
