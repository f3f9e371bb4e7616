"""The parameters of each method, checked strictly: an unknown property is refused, as the real gateway does.

Source: spec "gateway" §2 to §5.
"""

from collections.abc import Mapping
from typing import Any

from orchestrator.gateway.refusal import invalid

_STRING: tuple[type, ...] = (str,)
_INTEGER: tuple[type, ...] = (int,)
_OBJECT: tuple[type, ...] = (dict,)
_LIST: tuple[type, ...] = (list,)
_BOOLEAN: tuple[type, ...] = (bool,)

# name → (types, required)
_Shape = Mapping[str, tuple[tuple[type, ...], bool]]

CLIENT: _Shape = {
    "id": (_STRING, True),
    "version": (_STRING, True),
    "platform": (_STRING, True),
    "mode": (_STRING, True),
    "displayName": (_STRING, False),
    "deviceFamily": (_STRING, False),
    "instanceId": (_STRING, False),
}
AUTH: _Shape = {"token": (_STRING, False), "password": (_STRING, False)}
METHODS: Mapping[str, _Shape] = {
    "connect": {
        "minProtocol": (_INTEGER, True),
        "maxProtocol": (_INTEGER, True),
        "client": (_OBJECT, True),
        "role": (_STRING, False),
        "scopes": (_LIST, False),
        "caps": (_LIST, False),
        "auth": (_OBJECT, False),
        "locale": (_STRING, False),
        "userAgent": (_STRING, False),
    },
    "agent": {
        "message": (_STRING, True),
        "idempotencyKey": (_STRING, True),
        "agentId": (_STRING, False),
        "sessionKey": (_STRING, False),
        "timeout": (_INTEGER, False),
        "extraSystemPrompt": (_STRING, False),
        "thinking": (_STRING, False),
        "label": (_STRING, False),
        "lane": (_STRING, False),
        "deliver": (_BOOLEAN, False),
        "bootstrapContextMode": (_STRING, False),
    },
    "agent.wait": {"runId": (_STRING, True), "timeoutMs": (_INTEGER, False)},
    "agents.list": {},
    "chat.abort": {"sessionKey": (_STRING, True), "runId": (_STRING, False)},
    "chat.history": {"sessionKey": (_STRING, True), "limit": (_INTEGER, False)},
    "health": {},
    "sessions.abort": {"key": (_STRING, True), "runId": (_STRING, False)},
    "sessions.messages.subscribe": {"key": (_STRING, True)},
    "sessions.messages.unsubscribe": {"key": (_STRING, True)},
    "tasks.list": {"sessionKey": (_STRING, False), "status": (_STRING, False), "limit": (_INTEGER, False)},
}


def check(what: str, shape: _Shape, params: Any) -> dict[str, Any]:
    """The parameters, when they are what `shape` says. Raises RefusalError (INVALID_REQUEST)."""
    if not isinstance(params, dict):
        raise invalid(f"invalid {what} params: at root: must be object")
    for name in params:
        if name not in shape:
            raise invalid(f"invalid {what} params: at root: unexpected property '{name}'")
    for name, (types, required) in shape.items():
        if name not in params:
            if required:
                raise invalid(f"invalid {what} params: at root: must have required property '{name}'")
            continue
        problem = _problem(params[name], types, required)
        if problem is not None:
            raise invalid(f"invalid {what} params: at /{name}: {problem}")
    return params


def _problem(value: Any, types: tuple[type, ...], required: bool) -> str | None:
    if not isinstance(value, types) or (types is _INTEGER and isinstance(value, bool)):
        return f"must be {types[0].__name__}"
    if required and value == "":
        return "must not be empty"
    if isinstance(value, int) and value < 0:
        return "must be >= 0"
    return None
