"""`client.workspaces`: what separates teams."""

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.client.answers import Workspace
from orchestrator.client.transport import Transport, segment


class Workspaces:
    """Workspaces; every call needs the scope `admin`, making one that of the workspace `default`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, name: str, *, idempotency_key: str | None = None) -> Workspace:
        """Make a workspace. Raises Conflict where the name is taken."""
        made: Workspace = self._transport.write(
            "POST", "/api/workspaces", {"name": name}, idempotency_key=idempotency_key
        )
        return made

    def list(self, limit: int | None = None) -> Iterator[Workspace]:
        """The workspaces that the key administers, newest first."""
        return self._transport.pages("/api/workspaces", limit)

    def get(self, workspace: str) -> Workspace:
        """A workspace by id or name."""
        found: Workspace = self._transport.get(f"/api/workspaces/{segment(workspace)}")
        return found

    def update(self, workspace: str, changes: Mapping[str, Any]) -> Workspace:
        """Change what is given, such as `{"run_retention_days": 90}`; None is as the settings say."""
        changed: Workspace = self._transport.write("PATCH", f"/api/workspaces/{segment(workspace)}", dict(changes))
        return changed
