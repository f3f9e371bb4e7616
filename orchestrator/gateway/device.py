"""A device proves who it is: an Ed25519 key signs what the client asks for. Source: spec "gateway" §3."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from orchestrator.gateway.database import now_ms
from orchestrator.gateway.params import DEVICE, check
from orchestrator.gateway.refusal import RefusalError

_SKEW_MS = 120_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A device that holds its key."""

    device_id: str
    public_key: str


def prove(params: Mapping[str, Any], *, nonce: str) -> Proof:
    """Check the `device` of a connect request. Raises RefusalError, DEVICE_AUTH_* in its details."""
    device = check("connect", DEVICE, params["device"], "/device")
    raw = _bytes(device["publicKey"])
    if hashlib.sha256(raw).hexdigest() != device["id"]:
        raise _refused("device-id-mismatch", "DEVICE_ID_MISMATCH", "device identity mismatch")
    if abs(now_ms() - device["signedAt"]) > _SKEW_MS:
        raise _refused("device-signature-stale", "SIGNATURE_EXPIRED", "device signature expired")
    if device["nonce"] != nonce:
        raise _refused("device-nonce-mismatch", "NONCE_MISMATCH", "device nonce mismatch")
    try:
        key = Ed25519PublicKey.from_public_bytes(raw)
    except ValueError as error:
        raise _refused("device-public-key", "PUBLIC_KEY_INVALID", "device public key invalid") from error
    signature = _bytes(device["signature"])
    if not any(_signed(key, signature, text) for text in signed_texts(params)):
        raise _refused("device-signature", "SIGNATURE_INVALID", "device signature invalid")
    return Proof(device_id=device["id"], public_key=device["publicKey"])


def signed_texts(params: Mapping[str, Any]) -> tuple[str, str]:
    """What a device may have signed: versions 3 and 2."""
    device, client, auth = params["device"], params["client"], params.get("auth", {})
    asked = (
        device["id"],
        client["id"],
        client["mode"],
        params.get("role", "operator"),
        ",".join(map(str, params.get("scopes", []))),
        str(device["signedAt"]),
        auth.get("token") or auth.get("deviceToken") or "",
        device["nonce"],
    )
    kind = (client["platform"].strip().lower(), client.get("deviceFamily", "").strip().lower())
    return "|".join(("v3", *asked, *kind)), "|".join(("v2", *asked))


def _signed(key: Ed25519PublicKey, signature: bytes, text: str) -> bool:
    try:
        key.verify(signature, text.encode(errors="replace"))
    except InvalidSignature:
        return False
    return True


def _bytes(text: str) -> bytes:
    """Base64url without padding; what is none gives no bytes, which fit no key and no signature."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""


def _refused(reason: str, code: str, message: str) -> RefusalError:
    details = {"code": f"DEVICE_AUTH_{code}", "reason": reason}
    return RefusalError("INVALID_REQUEST", message, details=details, close=1008)
