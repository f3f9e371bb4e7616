"""Where an agent answers that keeps no connection: an address of one attempt, which cannot be guessed or forged.

A token is run, step number and attempt with a code over them (HMAC-SHA256, cut to 128 bits), in base64url.
"""

import base64
import binascii
import hashlib
import hmac
import struct
import uuid
from typing import TYPE_CHECKING

from models.errors import NotFoundError
from orchestrator.services import vault
from orchestrator.settings import Settings

if TYPE_CHECKING:
    from orchestrator.services.deps import Deps

_PLAIN = struct.Struct(">16sqi")
_CODE = 16
Attempt = tuple[str, int, int]


def url(deps: "Deps", run_id: str, no: int, attempt: int) -> str:
    """Where the agent of an attempt answers."""
    base = deps.settings.url.rstrip("/")
    return f"{base}/api/callbacks/{token(deps.settings, run_id, no, attempt)}"


def token(settings: Settings, run_id: str, no: int, attempt: int) -> str:
    """What the address of an attempt ends in."""
    plain = _PLAIN.pack(uuid.UUID(run_id).bytes, no, attempt)
    return base64.urlsafe_b64encode(plain + _code(settings, plain)).rstrip(b"=").decode()


def attempt_of(settings: Settings, given: str) -> Attempt:
    """The run, step number and attempt of a token. Raises NotFoundError for what is none of ours."""
    try:
        raw = base64.urlsafe_b64decode(given.encode("ascii") + b"=" * (-len(given) % 4))
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raw = b""
    plain, code = raw[: _PLAIN.size], raw[_PLAIN.size :]
    if len(code) != _CODE or not hmac.compare_digest(code, _code(settings, plain)):
        raise NotFoundError(
            "There is no callback of this address; use the callback_url that the work came with"
        )
    run, no, attempt = _PLAIN.unpack(plain)
    return str(uuid.UUID(bytes=run)), no, attempt


def _code(settings: Settings, plain: bytes) -> bytes:
    return hmac.digest(vault.callback_key(settings), plain, hashlib.sha256)[:_CODE]
