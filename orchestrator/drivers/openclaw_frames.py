"""The frames of OpenClaw's protocol 4, read leniently: whatever a peer sends, nothing here raises.

Source: spec "gateway" §2.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.errors import OrchestratorError, UnavailableError


class GatewayDownError(UnavailableError):
    """The gateway refuses, starts or drains: worth another try after `retry_after` seconds."""


class GatewayRefusedError(OrchestratorError):
    """The gateway took the connection and won't have us: only an operator can mend that."""

    code = "AGENT_UNAVAILABLE"


class ConnectionLostError(OrchestratorError):
    """The socket ended while an answer was waited for; what was asked may have been done."""

    code = "NETWORK"


class GivenUpError(OrchestratorError):
    """The attempt that waited was given up."""

    code = "CANCELLED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An error as the gateway words it. `retry_after` in seconds."""

    code: str = ""
    message: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    retryable: bool = False
    retry_after: float | None = None

    @property
    def reason(self) -> str:
        """The finer code, where there is one."""
        return text_of(self.details, "code") or text_of(self.details, "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer to a request; there can be two with the same id. A payload that is no object reads as {}."""

    id: str
    ok: bool
    payload: Mapping[str, Any]
    fault: Fault | None = None

    @property
    def status(self) -> str:
        return text_of(self.payload, "status")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that nobody asked for."""

    name: str
    payload: Mapping[str, Any]


def parse(data: bytes) -> Response | Event | None:
    """The frame in a message; None for what is none."""
    try:
        frame = json.loads(data.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(frame, dict):
        return None
    payload = mapping_of(frame, "payload")
    if frame.get("type") == "event" and isinstance(frame.get("event"), str):
        return Event(name=frame["event"], payload=payload)
    if frame.get("type") == "res" and isinstance(frame.get("id"), str):
        return Response(
            id=frame["id"], ok=frame.get("ok") is True, payload=payload, fault=_fault(frame.get("error"))
        )
    return None


def request(id_: str, method: str, params: Mapping[str, Any]) -> str:
    """The text of a request frame."""
    return json.dumps({"type": "req", "id": id_, "method": method, "params": params})


def _fault(error: Any) -> Fault | None:
    if not isinstance(error, dict):
        return None
    after = number_of(error, "retryAfterMs")
    return Fault(
        code=text_of(error, "code"),
        message=text_of(error, "message"),
        details=mapping_of(error, "details"),
        retryable=error.get("retryable") is True,
        retry_after=None if after is None else min(60.0, after / 1000),
    )


def mapping_of(source: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object under `key`, else an empty one."""
    value = source.get(key)
    return value if isinstance(value, dict) else {}


def text_of(source: Mapping[str, Any], key: str) -> str:
    """The string under `key`, else an empty one."""
    value = source.get(key)
    return value if isinstance(value, str) else ""


def objects_of(source: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The objects in the list under `key`, else none."""
    value = source.get(key)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def strings_of(source: Mapping[str, Any], key: str) -> list[str]:
    """The strings in the list under `key`, else none."""
    value = source.get(key)
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []


def number_of(source: Mapping[str, Any], key: str) -> float | None:
    """The number under `key` when it is one from 0 to 2^53, else None."""
    value = source.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= 1 << 53 else None
