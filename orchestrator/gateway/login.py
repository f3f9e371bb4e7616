"""The handshake's second half: who may come in, and with which scopes. Source: spec "gateway" §3."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.gateway.device import Proof, prove
from orchestrator.gateway.pairing import Devices
from orchestrator.gateway.params import AUTH, CLIENT, METHODS, check
from orchestrator.gateway.refusal import RefusalError, invalid

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
# Without a device only these keep the scopes that they ask for; others get none, without a word. Where pairing is
# manual clients count as remote, all but the operator at the machine.
_BACKEND, _OPERATOR = ("gateway-client", "backend"), ("cli", "cli")


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A connection that came in. `method`: "token" or "device-token"."""

    scopes: tuple[str, ...]
    caps: frozenset[str]
    method: str = "token"
    device_token: str | None = field(default=None, repr=False)

    def may(self, scope: str | None) -> bool:
        """Write implies read, admin all."""
        held = self.scopes
        return (
            scope is None
            or scope in held
            or "operator.admin" in held
            or (scope == "operator.read" and "operator.write" in held)
        )


def log_in(params: Any, *, token: str, devices: Devices, nonce: str, origin: str | None) -> Login:
    """Judge a connect request. Raises RefusalError, which says how the socket is closed."""
    try:
        given, auth = _checked(params)
        proof = prove(given, nonce=nonce) if "device" in given else None
    except RefusalError as error:
        error.close = error.close or 1008
        raise
    if origin is not None:
        raise _refused("origin not allowed", "CONTROL_UI_ORIGIN_NOT_ALLOWED")
    asked = tuple(scope for scope in given.get("scopes", []) if isinstance(scope, str) and scope in _SCOPES)
    method = _method(auth, token, proof, devices, asked)
    client = (given["client"]["id"], given["client"]["mode"])
    backend = client == _BACKEND and not devices.manual
    # A backend on loopback that has the token is trusted as it is: its device is not paired, and gets no token.
    paired = None if backend and method == "token" else proof
    return Login(
        scopes=asked if backend or client == _OPERATOR or proof is not None else (),
        caps=frozenset(cap for cap in given.get("caps", []) if isinstance(cap, str)),
        method=method,
        device_token=None if paired is None else devices.admit(paired, asked),
    )


def _checked(params: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    given = check("connect", METHODS["connect"], params)
    client = check("connect", CLIENT, given["client"], "/client")
    auth = check("connect", AUTH, given.get("auth", {}), "/auth")
    for name, allowed in (("id", _IDS), ("mode", _MODES)):
        if client[name] not in allowed:
            raise invalid(
                f"invalid connect params: at /client/{name}: must be equal to one of the allowed values"
            )
    if not given["minProtocol"] <= PROTOCOL <= given["maxProtocol"]:
        details = {"code": "PROTOCOL_MISMATCH", "expectedProtocol": PROTOCOL}
        raise RefusalError("INVALID_REQUEST", "protocol mismatch", details=details, close=1002)
    if given.get("role", "operator") != "operator":
        raise invalid("invalid role")
    return given, auth


def _method(
    auth: Mapping[str, Any], token: str, proof: Proof | None, devices: Devices, scopes: Sequence[str]
) -> str:
    """By what the client proved that it may come in. Raises RefusalError."""
    if "token" in auth:
        if not hmac.compare_digest(auth["token"].encode(), token.encode()):
            raise _refused("unauthorized: gateway token mismatch", "AUTH_TOKEN_MISMATCH")
        return "token"
    if proof is None:
        details = {"code": "DEVICE_IDENTITY_REQUIRED"}
        raise RefusalError("NOT_PAIRED", "device identity required", details=details, close=1008)
    if "deviceToken" not in auth:
        raise _refused("unauthorized: gateway token missing", "AUTH_TOKEN_MISSING")
    if not devices.holds(proof, auth["deviceToken"]):
        raise _refused("unauthorized: device token mismatch", "AUTH_DEVICE_TOKEN_MISMATCH")
    if not devices.covers(proof, scopes):
        raise _refused(
            "unauthorized: device token scope mismatch (re-pair or approve scope upgrade)",
            "AUTH_SCOPE_MISMATCH",
        )
    return "device-token"


def _refused(message: str, code: str) -> RefusalError:
    details: dict[str, Any] = {"code": code}
    if code.startswith("AUTH_"):
        details |= {
            "authReason": code.removeprefix("AUTH_").lower(),
            "canRetryWithDeviceToken": False,
            "recommendedNextStep": "update_auth_credentials",
        }
    return RefusalError("INVALID_REQUEST", message, details=details, close=1008)
