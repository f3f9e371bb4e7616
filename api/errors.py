"""Every failure as an RFC 9457 problem document. The only place that knows status numbers of failures."""

import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, json
from werkzeug.exceptions import HTTPException

from models.database import OUTAGES
from models.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    OrchestratorError,
    Problem,
    RateLimitedError,
    UnauthorizedError,
    UnavailableError,
)

MEDIA = "application/problem+json"
STATUS: Mapping[type[OrchestratorError], HTTPStatus] = {
    UnauthorizedError: HTTPStatus.UNAUTHORIZED,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    InvalidError: HTTPStatus.UNPROCESSABLE_ENTITY,
    RateLimitedError: HTTPStatus.TOO_MANY_REQUESTS,
    UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}
_BY_CODE = {"MALFORMED": HTTPStatus.BAD_REQUEST}
_CODES = {
    HTTPStatus.BAD_REQUEST: "MALFORMED",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "TOO_LARGE",
}

log = structlog.get_logger(__name__)


def register(app: Flask) -> None:
    """Answer every exception of the app with a problem document."""
    app.register_error_handler(OrchestratorError, _ours)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)
    for outage in OUTAGES:
        app.register_error_handler(outage, _outage)


def shown(problem: Problem) -> dict[str, Any]:
    """A problem as callers see it; `line` where the document had lines."""
    line = {} if problem.line is None else {"line": problem.line}
    return {"pointer": problem.pointer, **line, "code": problem.code, "message": problem.message}


def answer(
    status: HTTPStatus, detail: str, code: str, errors: Sequence[Problem] = (), headers: Any = None
) -> Response:
    """A problem document. `type` is about:blank: `code` is what programs tell problems apart by."""
    document = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": code,
        "errors": [shown(problem) for problem in errors],
    }
    text = json.dumps(document, ensure_ascii=False)
    return Response(text, status=status.value, headers=headers, content_type=MEDIA)


def _ours(error: OrchestratorError) -> Response:
    kind = next((kind for kind in type(error).__mro__ if kind in STATUS), None)
    if kind is None:
        return _unexpected(error)
    headers = {}
    if isinstance(error, UnauthorizedError):
        headers["WWW-Authenticate"] = 'Bearer realm="orchestrator"'
    if isinstance(error, RateLimitedError | UnavailableError):
        headers["Retry-After"] = str(max(1, round(error.retry_after + 0.5)))
    problems = error.problems if isinstance(error, InvalidError) else ()
    return answer(_BY_CODE.get(error.code, STATUS[kind]), str(error), error.code, problems, headers)


def _http(error: HTTPException) -> Any:
    if error.code is None or error.code < HTTPStatus.BAD_REQUEST:
        return error  # a redirect
    status = HTTPStatus(error.code)
    headers = [(name, value) for name, value in error.get_headers() if name.lower() != "content-type"]
    code = _CODES.get(status, status.name)
    return answer(status, error.description or status.phrase, code, headers=headers)


def _outage(error: Exception) -> Response:
    log.warning("the database does not answer", error=type(error).__name__)
    status = HTTPStatus.SERVICE_UNAVAILABLE
    return answer(
        status, "The database does not answer; try again soon", "UNAVAILABLE", headers={"Retry-After": "1"}
    )


def _unexpected(error: Exception) -> Response:
    reference = uuid.uuid4().hex
    log.error("a request failed", reference=reference, exc_info=error)
    return answer(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        f"Something broke on our side; the server's log has it under {reference}. "
        "A write that carries an Idempotency-Key can safely be sent again",
        "INTERNAL",
    )
