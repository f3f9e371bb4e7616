"""A device with its key, as a client of a gateway signs with it. Source: spec "gateway" §3, Device identity."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Device:
    """One Ed25519 key. `version`: of the text that it signs, "v3" or "v2"."""

    def __init__(self, version: str = "v3") -> None:
        self._key = Ed25519PrivateKey.generate()
        self._version = version
        raw = self._key.public_key().public_bytes_raw()
        self.id = hashlib.sha256(raw).hexdigest()
        self.public_key = base64url(raw)

    def identity(self, params: Mapping[str, Any], challenge: Mapping[str, Any]) -> dict[str, Any]:
        """The `device` of a connect request with these parameters."""
        client, auth = params["client"], params["auth"]
        parts = [
            self._version,
            self.id,
            client["id"],
            client["mode"],
            "operator",
            ",".join(params["scopes"]),
            str(challenge["ts"]),
            auth.get("token") or auth.get("deviceToken") or "",
            challenge["nonce"],
        ]
        if self._version == "v3":
            parts += [client["platform"].lower(), client.get("deviceFamily", "").lower()]
        return {
            "id": self.id,
            "publicKey": self.public_key,
            "signature": base64url(self._key.sign("|".join(parts).encode())),
            "signedAt": challenge["ts"],
            "nonce": challenge["nonce"],
        }


def base64url(raw: bytes) -> str:
    """Without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
