"""The gateway of this installation: the address that it left in the data directory, read when it is needed.

The file `DATA_DIR/gateway.json` holds {"url": "ws://…", "token": "…"}, written by the local gateway when it
listens. It is read again before each connection, so a gateway that comes back elsewhere is found.
"""

import json
from pathlib import Path

from models.errors import UnavailableError
from orchestrator.bridge import Endpoint, GatewayParts
from orchestrator.drivers.openclaw import OpenClawGateway
from orchestrator.drivers.openclaw_handshake import Address

FILE = "gateway.json"


class LocalGateway(OpenClawGateway):
    """The OpenClaw driver, for endpoints that have no address of their own."""

    def __init__(self, parts: GatewayParts) -> None:
        super().__init__(parts)
        self._file = parts.settings.data_dir / FILE

    def locate(self, endpoint: Endpoint) -> Address:  # noqa: ARG002 - the same for every endpoint
        """The address in the file, whatever the endpoint says. Raises UnavailableError."""
        return read_address(self._file)


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
