"""A gateway's word without what opens the gateway: what a driver says goes into steps, events and logs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from models.errors import OrchestratorError, UnavailableError
from orchestrator.bridge import Endpoint, Unsent
from orchestrator.core import redact
from orchestrator.core.outcome import Failed

T = TypeVar("T")


def veiled(endpoint: Endpoint, said: T) -> T:
    """A reason or an error with the gateway's tokens masked; anything else as it is."""
    return masked(_secrets(endpoint), said)


def masked(secrets: list[str], said: T) -> T:
    """The same, of these secrets."""
    match said:
        case Unsent():
            return replace(said, reason=redact.redact(said.reason, secrets))
        case Failed(error=error):
            message, details = redact.redact([error.message, error.details], secrets)
            return replace(said, error=replace(error, message=message, details=details))
    return said


@contextmanager
def veiling(endpoint: Endpoint) -> Iterator[None]:
    """Errors out of a driver leave as UnavailableError with the gateway's tokens masked."""
    try:
        yield
    except OrchestratorError as error:
        raise UnavailableError(redact.redact(str(error), _secrets(endpoint))) from error


def _secrets(endpoint: Endpoint) -> list[str]:
    return [secret for secret in (endpoint.token, endpoint.device_token) if secret]
