"""Who this installation is at gateways: an Ed25519 key that signs each connection.

Source: spec "gateway" §3, Device identity.
"""

import base64
import hashlib
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

CLIENT_ID = "gateway-client"
CLIENT_MODE = "backend"
PLATFORM = "linux"
ROLE = "operator"


class Identity:
    """The key made of a seed of 32 bytes: the same seed is the same device."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        raw = self._key.public_key().public_bytes_raw()
        self.id = hashlib.sha256(raw).hexdigest()
        self.public_key = _base64(raw)

    def proof(self, *, scopes: Sequence[str], secret: str, nonce: str, signed_at: int) -> dict[str, object]:
        """The `device` of a connect request. secret: the token that goes with it; signed_at: ms since 1970."""
        text = "|".join(
            (
                "v3",
                self.id,
                CLIENT_ID,
                CLIENT_MODE,
                ROLE,
                ",".join(scopes),
                str(signed_at),
                secret,
                nonce,
                PLATFORM,
                "",  # no device family
            )
        )
        return {
            "id": self.id,
            "publicKey": self.public_key,
            "signature": _base64(self._key.sign(text.encode())),
            "signedAt": signed_at,
            "nonce": nonce,
        }


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
