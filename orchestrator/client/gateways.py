"""`client.gateways`: where agents are reached."""

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.client.agent_answers import Gateway, Pinged
from orchestrator.client.transport import Transport, segment


class Gateways:
    """Gateways, by id or name; every call but reading needs the scope `admin`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        name: str,
        url: str | None = None,
        *,
        kind: str = "openclaw",
        token: str | None = None,
        default: bool = False,
        idempotency_key: str | None = None,
    ) -> Gateway:
        """Make a gateway. Raises Conflict where the name is taken."""
        body = {"name": name, "kind": kind, "url": url, "token": token, "default": default}
        made: Gateway = self._transport.write("POST", "/api/gateways", body, idempotency_key=idempotency_key)
        return made

    def list(self, limit: int | None = None) -> Iterator[Gateway]:
        """Gateways by name."""
        return self._transport.pages("/api/gateways", limit)

    def get(self, gateway: str) -> Gateway:
        """A gateway, without its token."""
        found: Gateway = self._transport.get(_path(gateway))
        return found

    def update(self, gateway: str, changes: Mapping[str, Any]) -> Gateway:
        """Change what is given, such as `{"token": None}`, which forgets it."""
        changed: Gateway = self._transport.write("PATCH", _path(gateway), dict(changes))
        return changed

    def delete(self, gateway: str) -> Gateway:
        """Remove a gateway. Raises Conflict while agents are registered with it."""
        removed: Gateway = self._transport.write("DELETE", _path(gateway))
        return removed

    def ping(self, gateway: str) -> Pinged:
        """Ask a gateway now whether it is well."""
        pinged: Pinged = self._transport.write("POST", f"{_path(gateway)}/ping")
        return pinged


def _path(gateway: str) -> str:
    return f"/api/gateways/{segment(gateway)}"
