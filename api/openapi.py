"""The OpenAPI document: what APIFlask derives from the views, made true about errors and bodies."""

from http import HTTPStatus
from typing import Any

from apiflask import APIFlask
from apispec import APISpec
from flask import Flask

from api.bodies import YAML
from api.errors import MEDIA
from api.nouns import KEYLESS, SECURITY
from api.schemas.common import Problem
from api.schemas.workflows import Definition

_WRITES = ("post", "put", "patch", "delete")
_REFUSALS = {
    HTTPStatus.BAD_REQUEST: "The body is no JSON or YAML",
    HTTPStatus.UNAUTHORIZED: "No key, or one that is unknown or revoked",
    HTTPStatus.FORBIDDEN: "The key lacks the scope",
    HTTPStatus.NOT_FOUND: "There is no such thing in the key's workspace",
    HTTPStatus.METHOD_NOT_ALLOWED: "The path does not know this method",
    HTTPStatus.CONFLICT: "The thing is in a state in which this makes no sense, or the name is taken",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is over MAX_BODY_BYTES",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The Content-Type is not taken here",
    HTTPStatus.UNPROCESSABLE_ENTITY: "What was sent is refused; `errors` tells every mistake",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many calls; Retry-After tells when the next is taken",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Something broke on our side",
    HTTPStatus.SERVICE_UNAVAILABLE: "The database does not answer, or too many clients stream",
}
_BODY = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
_ALWAYS = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
)


_OF_KEYS = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


def configure(app: APIFlask) -> None:
    """What the app says of itself."""
    app.config.update(
        OPENAPI_VERSION="3.1.0",
        DESCRIPTION="Durable multi-agent workflows. Every call but health and metrics needs a key.",
        SECURITY_SCHEMES={SECURITY: {"type": "http", "scheme": "bearer"}},
        SPEC_PROCESSOR_PASS_OBJECT=True,
        AUTO_404_RESPONSE=False,
        AUTO_AUTH_ERROR_RESPONSE=False,
        AUTO_VALIDATION_ERROR_RESPONSE=False,
        AUTO_SERVERS=False,
    )
    app.tags = [
        *("workflows", "runs", "events", "approvals", "signals", "agents", "gateways", "webhooks"),
        *("schedules", "hooks", "keys", "workspaces", "pools", "costs", "audit", "callbacks", "system"),
    ]
    app.spec_processor(_complete)  # type: ignore[arg-type]


def document(app: Flask) -> dict[str, Any]:
    """The app's document, derived once."""
    found: dict[str, Any] | None = app.extensions.get("openapi")
    if found is None:
        found = app.extensions["openapi"] = app.spec  # type: ignore[attr-defined]
    return found


def _complete(spec: APISpec) -> APISpec:
    spec.components.schema("Problem", schema=Problem)
    spec.components.schema("Definition", schema=Definition)
    for status, description in _REFUSALS.items():
        content = {MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        spec.components.response(_name(status), {"description": description, "content": content})
    for path, operations in spec._paths.items():
        for method, operation in operations.items():
            _operation(path, method, operation)
    return spec


def _operation(path: str, method: str, operation: dict[str, Any]) -> None:
    if operation.pop("x-definition", None):
        schema = {"$ref": "#/components/schemas/Definition"}
        media = ("application/json", YAML[0])
        operation["requestBody"] = {"content": {kind: {"schema": schema} for kind in media}}
    keyless = operation.pop(KEYLESS, False)
    if "security" not in operation and not keyless:
        return
    if method in _WRITES and not keyless:
        operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
    for status in _statuses(path, method, operation) - (_OF_KEYS if keyless else set()):
        operation["responses"][str(status.value)] = {"$ref": f"#/components/responses/{_name(status)}"}


def _statuses(path: str, method: str, operation: dict[str, Any]) -> set[HTTPStatus]:
    found = set(_ALWAYS)
    if "{" in path:
        found |= {HTTPStatus.NOT_FOUND}
    if method in _WRITES:
        found |= {HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.NOT_FOUND}
    if "requestBody" in operation:
        found |= set(_BODY)
    if any(parameter.get("in") == "query" for parameter in operation.get("parameters", ())):
        found |= {HTTPStatus.UNPROCESSABLE_ENTITY}
    return found


def _name(status: HTTPStatus) -> str:
    return status.phrase.title().replace(" ", "")


_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A repeat with the same key and body gets the same answer and does nothing; kept for 24 h",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
