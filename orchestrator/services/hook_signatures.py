"""Whether what came to a hook was signed with its secret; over the bytes as they came.

Sources: Standard Webhooks, signature scheme; GitHub, "Validating webhook deliveries". A header that is malformed
counts as one that is wrong: whoever sends it learns no more.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from standardwebhooks import Webhook, WebhookVerificationError

from models.errors import InvalidError, Problem, UnauthorizedError
from orchestrator.core.hooks import GITHUB, STANDARD
from orchestrator.services import tokens
from orchestrator.settings import Settings

_PREFIX = "whsec_"
_LEAST, _MOST = 24, 64
_SHORTEST = 16


def made(settings: Settings, scheme: str, nonce: str) -> str:
    """The secret of a nonce: 256 bits, as a scheme writes them."""
    text = tokens.derived(settings, "hook-secret", nonce)
    return text if scheme == GITHUB else _PREFIX + base64.b64encode(base64.urlsafe_b64decode(text + "=")).decode()


def checked(scheme: str, secret: str) -> str:
    """A secret that a scheme can use. Raises InvalidError, which does not tell it."""
    why = None
    if scheme == STANDARD and not _LEAST <= _size(secret) <= _MOST:
        why = f"A secret of this scheme is {_PREFIX} and {_LEAST} to {_MOST} bytes in base64; leave it out to have one"
    elif scheme == GITHUB and len(secret) < _SHORTEST:
        why = f"A secret has at least {_SHORTEST} characters; leave it out to have one made"
    elif scheme not in (STANDARD, GITHUB):
        why = "A hook of the scheme none checks nothing; leave the secret out, or give the scheme"
    if why is not None:
        raise InvalidError(why, [Problem(pointer="/secret", code="INVALID_VALUE", message=why)])
    return secret


def _size(secret: str) -> int:
    try:
        return len(base64.b64decode(secret.removeprefix(_PREFIX), validate=True)) * secret.startswith(_PREFIX)
    except (binascii.Error, ValueError):
        return 0


def verify(scheme: str, secret: str, raw: bytes, headers: Mapping[str, str]) -> None:
    """Raises UnauthorizedError unless the body was signed, for `standard-webhooks` at most 5 minutes ago."""
    if scheme == GITHUB:
        expected = "sha256=" + hmac.digest(secret.encode(), raw, hashlib.sha256).hex()
        given = headers.get("x-hub-signature-256", "")
        if not hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace")):
            raise UnauthorizedError("X-Hub-Signature-256 is not that of this body under the hook's secret")
        return
    try:
        Webhook(secret).verify(raw, dict(headers), json_parse=False)
    except (WebhookVerificationError, ValueError) as error:  # of malformed headers binascii.Error, a ValueError
        why = str(error) if isinstance(error, WebhookVerificationError) else "malformed signature headers"
        raise UnauthorizedError(
            f"webhook-id, webhook-timestamp and webhook-signature do not sign this body under the hook's secret: {why}"
        ) from error
