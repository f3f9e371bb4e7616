"""`client.audit`: who did what, when and why."""

from collections.abc import Iterator
from typing import Literal

from orchestrator.client.audit_answers import Act
from orchestrator.client.transport import Transport


class Audit:
    """The audit log of the key's workspace. Times are RFC 3339; `action` and `target` may end with a `*`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        limit: int | None = None,
        *,
        actor: str | None = None,
        action: str | None = None,
        target: str | None = None,
        after: str | None = None,
        before: str | None = None,
    ) -> Iterator[Act]:
        """Acts, newest first; actor: the name or id of a key."""
        wanted = {"actor": actor, "action": action, "target": target, "after": after, "before": before}
        return self._transport.pages("/api/audit", limit, **wanted)

    def export(
        self,
        format: Literal["jsonl", "csv"] = "jsonl",
        *,
        actor: str | None = None,
        action: str | None = None,
        target: str | None = None,
        after: str | None = None,
        before: str | None = None,
    ) -> str:
        """All acts that fit as text, one a line."""
        wanted = {"actor": actor, "action": action, "target": target, "after": after, "before": before}
        return self._transport.text("/api/audit", format=format, **wanted)
