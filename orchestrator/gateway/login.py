"""The handshake's second half: who may come in, and with which scopes. Source: spec "gateway" §3."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.gateway.params import AUTH, CLIENT, METHODS, check
from orchestrator.gateway.refusal import RefusalError

PROTOCOL = 4
_IDS = frozenset(
    (
        "webchat-ui",
        "openclaw-control-ui",
        "openclaw-browser-copilot",
        "openclaw-tui",
        "webchat",
        "cli",
        "gateway-client",
        "openclaw-macos",
        "openclaw-linux",
        "openclaw-ios",
        "openclaw-watchos",
        "openclaw-android",
        "node-host",
        "openclaw-worker",
        "test",
        "fingerprint",
        "openclaw-probe",
    )
)
_MODES = frozenset(("webchat", "cli", "ui", "backend", "node", "worker", "probe", "test"))
_SCOPES = frozenset(
    f"operator.{name}"
    for name in ("read", "write", "admin", "approvals", "questions", "pairing", "talk", "talk.secrets")
)
# Without a device only these keep the scopes that they ask for; others get none, without a word.
_TRUSTED = frozenset({("gateway-client", "backend"), ("cli", "cli")})


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A connection that came in."""

    scopes: tuple[str, ...]
    caps: frozenset[str]

    def may(self, scope: str | None) -> bool:
        """Write implies read, admin all."""
        held = self.scopes
        return (
            scope is None
            or scope in held
            or "operator.admin" in held
            or (scope == "operator.read" and "operator.write" in held)
        )


def log_in(params: Any, *, token: str, origin: str | None) -> Login:
    """Judge a connect request. Raises RefusalError, which says how the socket is closed."""
    try:
        given = check("connect", METHODS["connect"], params)
        client = check("connect client", CLIENT, given["client"])
        auth = check("connect auth", AUTH, given.get("auth", {}))
    except RefusalError as error:
        error.close = 1008
        raise
    _check_protocol(given)
    if (
        client["id"] not in _IDS
        or client["mode"] not in _MODES
        or given.get("role", "operator") != "operator"
    ):
        raise RefusalError(
            "INVALID_REQUEST", "invalid connect params: at /client: unknown id or mode", close=1008
        )
    if origin is not None:
        raise _refused("origin not allowed", "CONTROL_UI_ORIGIN_NOT_ALLOWED")
    _check_token(auth, token)
    trusted = (client["id"], client["mode"]) in _TRUSTED
    asked = [scope for scope in given.get("scopes", []) if scope in _SCOPES]
    return Login(
        scopes=tuple(asked) if trusted else (),
        caps=frozenset(cap for cap in given.get("caps", []) if isinstance(cap, str)),
    )


def _check_protocol(given: Mapping[str, Any]) -> None:
    if not given["minProtocol"] <= PROTOCOL <= given["maxProtocol"]:
        raise RefusalError(
            "INVALID_REQUEST",
            "protocol mismatch",
            details={"code": "PROTOCOL_MISMATCH", "expectedProtocol": PROTOCOL},
            close=1002,
        )


def _check_token(auth: Mapping[str, Any], token: str) -> None:
    if "token" not in auth:
        raise RefusalError(
            "NOT_PAIRED",
            "device identity required",
            details={"code": "DEVICE_IDENTITY_REQUIRED"},
            close=1008,
        )
    if not hmac.compare_digest(auth["token"].encode(), token.encode()):
        raise _refused("unauthorized: gateway token mismatch", "AUTH_TOKEN_MISMATCH")


def _refused(message: str, code: str) -> RefusalError:
    return RefusalError("INVALID_REQUEST", message, details={"code": code}, close=1008)
