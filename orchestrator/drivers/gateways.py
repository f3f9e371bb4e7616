"""The gateway of this installation: the address that it left in the data directory, read when it is needed.

The file `DATA_DIR/gateway.json` holds {"url": "ws://…", "token": "…"}, written by the local gateway when it
listens. It is read again before each connection, so a gateway that comes back elsewhere is found.
"""

import json
from pathlib import Path

from models.errors import UnavailableError
from orchestrator.core.outcome import Outcome
from orchestrator.drivers.openclaw import OpenClawGateway
from orchestrator.drivers.openclaw_handshake import Address
from orchestrator.ports import Dispatch
from orchestrator.settings import Settings

FILE = "gateway.json"


class Gateways:
    """Implements orchestrator.ports.Gateway; connects with the first dispatch."""

    def __init__(self, settings: Settings) -> None:
        self._file = settings.data_dir / FILE
        self._gateway = OpenClawGateway(
            lambda: read_address(self._file),
            most=settings.gateway_pool_max,
            idle=settings.gateway_pool_ttl,
            patience=settings.gateway_sync_seconds,
        )

    def dispatch(self, request: Dispatch) -> Outcome:
        """Run one attempt to its end; AGENT_UNAVAILABLE where there is no gateway. Never raises."""
        return self._gateway.dispatch(request)

    def stop(self, session_key: str, idempotency_key: str) -> None:
        """End the work of an attempt. Raises OrchestratorError when the gateway can't be reached."""
        self._gateway.stop(session_key, idempotency_key)

    def close(self) -> None:
        self._gateway.close()


def read_address(file: Path) -> Address:
    """The address in a file. Raises UnavailableError when there is none that makes sense."""
    try:
        found = json.loads(file.read_text())
        return Address(url=str(found["url"]), token=str(found["token"]))
    except FileNotFoundError as error:
        raise UnavailableError(
            f"no gateway: {file} does not exist; start one with `orchestrator up` or "
            f"`python -m orchestrator.gateway --data-dir {file.parent}`"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnavailableError(
            f'{file} can\'t be read ({error}); it must hold {{"url": "ws://…", "token": "…"}}'
        ) from error
