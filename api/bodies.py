"""The body of a request as plain data, refused before anything recursive touches it."""

from typing import Any

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from orchestrator.core.document import Document, Limits, parse

JSON = ("application/json",)
FORM = "application/x-www-form-urlencoded"
YAML = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")


def document(request: Request, limits: Limits) -> Document:
    """A JSON or YAML document, with lines where it was YAML.

    Raises UnsupportedMediaType, RequestEntityTooLarge, and InvalidError as orchestrator.core.document.parse.
    """
    media = "yaml" if request.mimetype in YAML else "json"
    if media == "json":
        _require_json(request, "application/json or application/yaml")
    _require_plain(request)
    return parse(_whole(request), media=media, limits=limits)


def data(request: Request, limits: Limits) -> Any:
    """A JSON body; nothing at all is an empty object. Raises as `document` does."""
    _require_plain(request)
    raw = _whole(request)
    if not raw:
        return {}
    _require_json(request, "application/json")
    return parse(raw, media="json", limits=limits).data


def raw(request: Request) -> tuple[bytes, bool]:
    """A body of JSON or of a form as it came, and whether it is a form. Raises as `document` does."""
    _require_plain(request)
    # before the bytes are asked for: nobody is to parse the form on the way, which would take them
    found, is_form = _whole(request), request.mimetype == FORM
    if found and not is_form:
        _require_json(request, f"application/json or {FORM}")
    return found, is_form


def _whole(request: Request) -> bytes:
    """All of the body. Werkzeug cuts one that is sent in chunks off at the limit without a word."""
    raw = request.get_data()
    if request.content_length is None and len(raw) == request.max_content_length:
        rest = request.environ["wsgi.input"].read(1)
        if rest:
            raise RequestEntityTooLarge
    return raw


def _require_json(request: Request, wanted: str) -> None:
    if request.mimetype not in JSON and not request.mimetype.endswith("+json"):
        given = request.mimetype or "none"
        raise UnsupportedMediaType(f"The Content-Type is {given}; send {wanted}")


def _require_plain(request: Request) -> None:
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType(f"The charset is {charset}; send UTF-8")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("The body is compressed; send it as it is")
