"""What deliveries are signed with. Source: Standard Webhooks, signature scheme: HMAC-SHA256 over id.timestamp.body."""

import base64
import binascii
import os
from collections.abc import Sequence
from datetime import datetime, timedelta

from standardwebhooks import Webhook

PREFIX = "whsec_"
_BYTES = 32
_LEAST, _MOST = 24, 64


def new() -> str:
    """A secret of 256 random bits."""
    return PREFIX + base64.b64encode(os.urandom(_BYTES)).decode()


def problem(text: str) -> str | None:
    """Why a text is no secret; None where it is one. The text itself is not told."""
    try:
        size = len(base64.b64decode(text.removeprefix(PREFIX), validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if text.startswith(PREFIX) and _LEAST <= size <= _MOST:
        return None
    return f"a secret is {PREFIX} and {_LEAST} to {_MOST} bytes in base64; leave it out to have one made"


def sign(secrets: Sequence[str], delivery_id: str, at: datetime, body: str) -> str:
    """The value of `webhook-signature`: one signature a secret. `at` is aware, of UTC."""
    assert at.utcoffset() == timedelta(0), "the library would take any other time for UTC"
    return " ".join(Webhook(secret).sign(delivery_id, at, body) for secret in secrets)
