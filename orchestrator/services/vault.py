"""What is derived from the installation's secret key: encryption, its identity at gateways, signatures."""

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from models.errors import ConflictError
from orchestrator.settings import Settings, secret_key


def seal(settings: Settings, text: str) -> str:
    """A secret as it is stored: encrypted and authenticated."""
    return _fernet(settings).encrypt(text.encode()).decode()


def unseal(settings: Settings, stored: str) -> str:
    """A stored secret. Raises ConflictError when it was sealed under another secret key."""
    try:
        return _fernet(settings).decrypt(stored.encode()).decode()
    except InvalidToken as error:
        raise ConflictError(
            "a stored secret does not open: ORCHESTRATOR_SECRET_KEY is not the one that it was stored under; "
            "set that one again, or store the secret anew"
        ) from error


def device_seed(settings: Settings) -> bytes:
    """32 bytes that stay the same as long as the secret key does."""
    return _derived(settings, b"gateway device")


def link_key(settings: Settings) -> bytes:
    """The 32 bytes that approval links are signed with."""
    return _derived(settings, b"approval links")


def callback_key(settings: Settings) -> bytes:
    """32 bytes that make and check the addresses at which agents answer."""
    return _derived(settings, b"callbacks")


def _fernet(settings: Settings) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(_derived(settings, b"stored secrets")))


def _derived(settings: Settings, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret_key(settings).encode())
