"""Secrets that are shown once: derived from a random nonce and the installation's secret key, kept as digests."""

import base64
import hashlib
import hmac
import secrets

from orchestrator.settings import Settings, secret_key


def nonce() -> str:
    """What a token is derived from. It may be kept: without the secret key it tells nothing."""
    return secrets.token_hex(32)


def derived(settings: Settings, purpose: str, nonce: str) -> str:
    """The token of a nonce, for one purpose."""
    mac = hmac.digest(secret_key(settings).encode(), f"{purpose}:{nonce}".encode(), "sha256")
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def digest(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
