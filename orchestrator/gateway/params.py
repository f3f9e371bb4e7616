"""The parameters of each method, checked strictly: an unknown property is refused, as the real gateway does.

Source: spec "gateway" §2 to §5.
"""

from collections.abc import Mapping
from typing import Any

from orchestrator.gateway.refusal import RefusalError, invalid

_STRING: tuple[type, ...] = (str,)
_INTEGER: tuple[type, ...] = (int,)
_OBJECT: tuple[type, ...] = (dict,)
_LIST: tuple[type, ...] = (list,)
_BOOLEAN: tuple[type, ...] = (bool,)
_TEXT: tuple[type, ...] = (str, str)  # may be empty
_NULLABLE: tuple[type, ...] = (str, type(None))

_NAMES = {str: "string", int: "integer", dict: "object", list: "array", bool: "boolean"}

# name → (types, required)
_Shape = dict[str, tuple[tuple[type, ...], bool]]

CLIENT: _Shape = {
    "id": (_STRING, True),
    "version": (_STRING, True),
    "platform": (_STRING, True),
    "mode": (_STRING, True),
    "displayName": (_STRING, False),
    "deviceFamily": (_STRING, False),
    "instanceId": (_STRING, False),
}
AUTH: _Shape = {"token": (_STRING, False), "deviceToken": (_STRING, False), "password": (_STRING, False)}
DEVICE: _Shape = {
    "id": (_STRING, True),
    "publicKey": (_STRING, True),
    "signature": (_STRING, True),
    "signedAt": (_INTEGER, True),
    "nonce": (_STRING, True),
}
TASK_INPUT: _Shape = {
    "title": (_STRING, True),
    "description": (_STRING, True),
    "context": ((dict, list, str, int, float, type(None)), False),
    "priority": ((str, int), False),
    "tags": (_LIST, False),
}
RESERVED = ("cwd", "swarmOutputSchema")  # of `agent`: nobody may send them
_SAID: _Shape = {
    "message": (_STRING, True),
    "agentId": (_STRING, False),
    "thinking": (_STRING, False),
    "attachments": (_LIST, False),
}
_SESSION: _Shape = {"key": (_STRING, True), "agentId": (_STRING, False)}
_FILE: _Shape = {"agentId": (_STRING, True), "name": (_STRING, True)}
_AGENT: _Shape = {
    "workspace": (_STRING, False),
    "emoji": (_STRING, False),
    "avatar": (_STRING, False),
}
METHODS: Mapping[str, _Shape] = {
    "connect": {
        "minProtocol": (_INTEGER, True),
        "maxProtocol": (_INTEGER, True),
        "client": (_OBJECT, True),
        "role": (_STRING, False),
        "scopes": (_LIST, False),
        "caps": (_LIST, False),
        "auth": (_OBJECT, False),
        "device": (_OBJECT, False),
        "locale": (_STRING, False),
        "userAgent": (_STRING, False),
    },
    "agent": _SAID
    | {
        "idempotencyKey": (_STRING, True),
        "sessionKey": (_STRING, False),
        "timeout": (_INTEGER, False),
        "extraSystemPrompt": (_STRING, False),
        "model": (_STRING, False),
        "label": (_STRING, False),
        "lane": (_STRING, False),
        "deliver": (_BOOLEAN, False),
        "promptMode": (_STRING, False),
        "modelRun": (_BOOLEAN, False),
        "bootstrapContextMode": (_STRING, False),
        **dict.fromkeys(RESERVED, ((object,), False)),
    },
    "agent.wait": {"runId": (_STRING, True), "timeoutMs": (_INTEGER, False)},
    "agents.create": _AGENT | {"name": (_STRING, True), "model": (_STRING, False)},
    "agents.delete": {"agentId": (_STRING, True), "deleteFiles": (_BOOLEAN, False)},
    "agents.files.get": _FILE,
    "agents.files.list": {"agentId": (_STRING, True)},
    "agents.files.set": _FILE | {"content": (_TEXT, True), "expectedHash": (_STRING, False)},
    "agents.list": {},
    "agents.update": _AGENT
    | {"agentId": (_STRING, True), "name": (_STRING, False), "model": (_NULLABLE, False)},
    "chat.abort": {"sessionKey": (_STRING, True), "runId": (_STRING, False)},
    "chat.history": {"sessionKey": (_STRING, True), "limit": (_INTEGER, False)},
    "chat.send": _SAID
    | {
        "sessionKey": (_STRING, True),
        "idempotencyKey": (_STRING, True),
        "timeoutMs": (_INTEGER, False),
        "deliver": (_BOOLEAN, False),
    },
    "device.pair.approve": {"requestId": (_STRING, True)},
    "device.pair.list": {},
    "health": {},
    "models.list": {"view": (_STRING, False)},
    "sessions.abort": {"key": (_STRING, True), "runId": (_STRING, False)},
    "sessions.delete": _SESSION | {"deleteTranscript": (_BOOLEAN, False)},
    "sessions.describe": _SESSION,
    "sessions.messages.subscribe": _SESSION,
    "sessions.messages.unsubscribe": _SESSION,
    "sessions.send": _SAID | _SESSION | {"idempotencyKey": (_STRING, False), "timeoutMs": (_INTEGER, False)},
    "tasks.cancel": {"taskId": (_STRING, True), "reason": (_STRING, False)},
    "tasks.execute": {
        "agentKey": (_STRING, True),
        "sessionKey": (_STRING, True),
        "taskInput": (_OBJECT, True),
    },
    "tasks.get": {"taskId": (_STRING, True)},
    "tasks.list": {
        "agentId": (_STRING, False),
        "sessionKey": (_STRING, False),
        "status": ((str, list), False),
        "limit": (_INTEGER, False),
    },
}


def check(method: str, shape: _Shape, params: Any, at: str = "") -> dict[str, Any]:
    """The parameters at a JSON pointer, when they are what `shape` says. Raises RefusalError (INVALID_REQUEST)."""
    if not isinstance(params, dict):
        raise _invalid(method, at or "root", "must be object")
    for name in params:
        if name not in shape:
            raise _invalid(method, at or "root", f"unexpected property '{name}'")
    for name, (types, required) in shape.items():
        if name not in params:
            if required:
                raise _invalid(method, at, f"must have required property '{name}'")
            continue
        problem = _problem(params[name], types, required)
        if problem is not None:
            raise _invalid(method, f"{at}/{name}", problem)
    return params


def _invalid(method: str, where: str, problem: str) -> RefusalError:
    return invalid(f"invalid {method} params: {f'at {where}: ' if where else ''}{problem}")


def _problem(value: Any, types: tuple[type, ...], required: bool) -> str | None:
    if not isinstance(value, types) or (types is _INTEGER and isinstance(value, bool)):
        return f"must be {_NAMES[types[0]]}"
    if isinstance(value, str) and not _is_text(value):
        return "must be text"
    if required and value == "" and types is not _TEXT:
        return "must not be empty"
    if isinstance(value, int) and value < 0:
        return "must be >= 0"
    return None


def _is_text(value: str) -> bool:
    """JSON lets half a surrogate pair through, which nothing can store."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
