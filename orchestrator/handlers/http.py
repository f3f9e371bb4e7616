"""The `http` node: one guarded HTTP request.

Source: spec "definition", Node types and Outputs; "engine", Idempotency keys; "reliability" §4.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from email.message import Message
from typing import Any, ClassVar
from urllib.parse import urlencode

from models.errors import ErrorCode, InvalidError
from orchestrator.core.nodetype import Field, FieldKind, NodeType
from orchestrator.core.outcome import Failed, Outcome, StepError, Succeeded
from orchestrator.ports import HttpRequest, HttpResponse, Parts, StepContext

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_WITHOUT_TIMEOUT = 60.0
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, field-name
_OURS = ("host", "content-length", "transfer-encoding", "connection", "upgrade", "expect", "te", "trailer")
_SHOWN_OF_ERROR = 1000
_OTHER_SCHEME = re.compile(r"(?!https?://)[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def _mistakes(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if _OTHER_SCHEME.match(fields["url"]):
        yield "/url", "only http:// and https:// are spoken; write one of them"
    if "json" in fields and "body" in fields:
        yield "/body", "json and body are both given; keep one of the two"
    given = fields.get("expect", {}).get("status", [])
    for no, status in enumerate(given) if isinstance(given, list) else [(None, given)]:
        resolved_later = isinstance(status, str) and "{{" in status
        if not resolved_later and (type(status) is not int or not 100 <= status <= 599):
            at = "/expect/status" if no is None else f"/expect/status/{no}"
            yield at, f"{json.dumps(status)} is no status; write a number from 100 to 599, or a list of them"


class HttpHandler:
    """Output {status, headers, body}: header names in lower case, `body` parsed when JSON, else text."""

    TYPE: ClassVar[NodeType] = NodeType(
        type="http",
        fields=(
            Field(name="method", kind=FieldKind.NAME, choices=_METHODS),
            Field(name="url", kind=FieldKind.STRING, required=True),
            Field(name="headers", kind=FieldKind.OBJECT),
            Field(name="query", kind=FieldKind.OBJECT),
            Field(name="json", kind=FieldKind.VALUE),
            Field(name="body", kind=FieldKind.STRING),
            Field(name="expect", kind=FieldKind.OBJECT, keys=("status",)),
        ),
        slow=True,
        external=True,
        shape=("[/", "/]"),
        mistakes=_mistakes,
    )

    def __init__(self, parts: Parts) -> None:
        self._outbound = parts.outbound
        self._most = parts.settings.max_output_bytes

    def execute(self, ctx: StepContext) -> Outcome:
        """Send the request and judge the answer."""
        try:
            request, expected = self._request(ctx), _expected(ctx.fields.get("expect") or {})
        except InvalidError as error:
            return Failed(error=StepError.of(ErrorCode.VALIDATION, str(error)))
        answer = self._outbound.send(request)
        return _judge(request, answer, expected) if isinstance(answer, HttpResponse) else answer

    def _request(self, ctx: StepContext) -> HttpRequest:
        method = ctx.fields.get("method") or "GET"
        body, content_type = _body(ctx.fields)
        headers = {
            "user-agent": "celery-orchestrator",
            "accept": "application/json, */*;q=0.5",
            "idempotency-key": ctx.idempotency_key,
        }
        if content_type is not None:
            headers["content-type"] = content_type
        return HttpRequest(
            method=method,
            url=_url(ctx.fields["url"], ctx.fields.get("query") or {}),
            headers=headers | _headers(ctx.fields.get("headers") or {}),
            body=body,
            deadline=ctx.deadline if ctx.deadline is not None else time.monotonic() + _WITHOUT_TIMEOUT,
            cancelled=ctx.cancelled,
            max_bytes=self._most,
        )


def _url(url: Any, query: Mapping[str, Any]) -> str:
    if not isinstance(url, str):
        raise InvalidError(f"url is no string but {type(url).__name__}")
    if not query:
        return url
    base, mark, fragment = url.partition("#")
    pairs = urlencode({name: _parameter(name, value) for name, value in query.items()}, doseq=True)
    return base + ("&" if "?" in base else "?") + pairs + mark + fragment


def _parameter(name: str, value: Any) -> str | list[str]:
    if isinstance(value, list):
        return [_scalar(f"query.{name}", item) for item in value]
    return _scalar(f"query.{name}", value)


def _headers(given: Mapping[str, Any]) -> dict[str, str]:
    headers = {}
    for name, value in given.items():
        if not _TOKEN.fullmatch(name) or name.lower() in _OURS:
            raise InvalidError(f"the header {name!r} can't be set by a node")
        text = _scalar(f"headers.{name}", value)
        if re.search(r"[\x00\r\n]", text):
            raise InvalidError(f"the header {name!r} holds a line break")
        headers[name.lower()] = text
    return headers


def _scalar(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, Mapping | list):
        raise InvalidError(f"{name} is neither string, number nor boolean")
    return json.dumps(value)


def _body(fields: Mapping[str, Any]) -> tuple[bytes | None, str | None]:
    body = fields.get("body")
    if "json" in fields:
        if body is not None:
            raise InvalidError("json and body are both given: a request has one of them")
        return json.dumps(fields["json"]).encode(), "application/json"
    if body is None:
        return None, None
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    return json.dumps(body).encode(), "application/json"


def _expected(expect: Mapping[str, Any]) -> frozenset[int]:
    """The statuses that count as success; empty: all of 2xx."""
    given = expect.get("status", [])
    statuses = given if isinstance(given, list) else [given]
    if set(expect) - {"status"} or not all(type(status) is int for status in statuses):
        raise InvalidError("expect takes `status`: a number or a list of numbers, such as [200, 404]")
    return frozenset(statuses)


def _judge(request: HttpRequest, answer: HttpResponse, expected: frozenset[int]) -> Outcome:
    status = answer.status
    if status not in expected if expected else not 200 <= status < 300:
        return Failed(error=_refusal(request, answer))
    if answer.cut:
        return Failed(
            error=StepError.of(
                ErrorCode.OUTPUT_TOO_LARGE,
                f"the answer is longer than {request.max_bytes} bytes: ask for less of it",
            )
        )
    return Succeeded(output={"status": status, "headers": dict(answer.headers), "body": _content(answer)})


def _refusal(request: HttpRequest, answer: HttpResponse) -> StepError:
    message = f"{request.method} {request.url.partition('?')[0]} answered {answer.status}"
    if 300 <= answer.status < 400:
        message += "; redirects are not followed: put the final address into url"
    return StepError.of(
        ErrorCode.TOOL_FAILED,
        message,
        details={"status": answer.status, "body": _text(answer)[:_SHOWN_OF_ERROR]},
        transient=answer.status >= 500 or answer.status == 429,
    )


def _content(answer: HttpResponse) -> Any:
    text = _text(answer)
    kind = _content_type(answer).get_content_type()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def _text(answer: HttpResponse) -> str:
    charset = _content_type(answer).get_content_charset("utf-8")
    try:
        return answer.body.decode(charset, errors="replace")
    except (LookupError, ValueError):
        return answer.body.decode("utf-8", errors="replace")


def _content_type(answer: HttpResponse) -> Message:
    message = Message()
    message["content-type"] = answer.headers.get("content-type", "text/plain")
    return message
