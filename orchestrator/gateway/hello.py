"""The hello-ok of a login. Source: spec "gateway" §3."""

import uuid
from collections.abc import Sequence
from typing import Any

from orchestrator.gateway.login import PROTOCOL, Login

MAX_PAYLOAD = 26_214_400
_MAX_BUFFERED = 52_428_800
_ATTACHMENT = 6 << 20
_EVENTS = [
    "agent",
    "chat",
    "connect.challenge",
    "session.message",
    "sessions.changed",
    "shutdown",
    "task",
    "tick",
]


def hello(
    login: Login, *, boot_id: str, methods: Sequence[str], uptime_ms: int, tick: float, draining: bool
) -> dict[str, Any]:
    """Who this gateway is, what it can do, what it lets the client do. `tick` in seconds."""
    auth = {"method": login.method, "role": "operator", "scopes": list(login.scopes)}
    return {
        "type": "hello-ok",
        "protocol": PROTOCOL,
        "server": {
            "version": "local",
            "buildId": "local",
            "bootId": boot_id,
            "connId": str(uuid.uuid4()),
        },
        "features": {"methods": list(methods), "events": _EVENTS, "capabilities": []},
        "snapshot": {
            "presence": [],
            "health": {"ok": True},
            "stateVersion": {"presence": 0, "health": 0},
            "uptimeMs": uptime_ms,
            "sessionDefaults": {
                "defaultAgentId": "main",
                "mainKey": "main",
                "mainSessionKey": "agent:main:main",
            },
            "suspension": {"phase": "draining" if draining else "accepting"},
        },
        "auth": auth | ({"deviceToken": login.device_token} if login.device_token else {}),
        "policy": {
            "maxPayload": MAX_PAYLOAD,
            "maxBufferedBytes": _MAX_BUFFERED,
            "tickIntervalMs": int(tick * 1000),
            "attachments": {"maxBytes": _ATTACHMENT, "maxImageBytes": _ATTACHMENT},
        },
    }
