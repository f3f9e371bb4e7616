"""`client.hooks`: addresses at which others start workflows and signal runs."""

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.client.hook_answers import Hook, HookScheme, HookSignal, WrittenHook
from orchestrator.client.transport import Transport, segment


class Hooks:
    """Hooks, by id or name; every call but reading needs the scope `admin`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        name: str,
        *,
        workflow: str | None = None,
        signal: HookSignal | None = None,
        scheme: HookScheme = "none",
        secret: str | None = None,
        mapping: Mapping[str, Any] | None = None,
        dedup: str | None = None,
        idempotency_key: str | None = None,
    ) -> WrittenHook:
        """Make a hook; a `secret` that is made for it is shown this once. Raises Conflict where the name is taken."""
        given = {"workflow": workflow, "signal": signal, "secret": secret, "mapping": mapping, "dedup": dedup}
        body = {"name": name, "scheme": scheme, **{key: value for key, value in given.items() if value is not None}}
        made: WrittenHook = self._transport.write("POST", "/api/hooks", body, idempotency_key=idempotency_key)
        return made

    def list(self, limit: int | None = None) -> Iterator[Hook]:
        """Hooks by name."""
        return self._transport.pages("/api/hooks", limit)

    def get(self, hook: str) -> Hook:
        """A hook, without its secret."""
        found: Hook = self._transport.get(_path(hook))
        return found

    def update(self, hook: str, changes: Mapping[str, Any]) -> WrittenHook:
        """Change what is given; its address stays."""
        changed: WrittenHook = self._transport.write("PATCH", _path(hook), dict(changes))
        return changed

    def delete(self, hook: str) -> Hook:
        """Remove a hook: its address is none any more."""
        removed: Hook = self._transport.write("DELETE", _path(hook))
        return removed


def _path(hook: str) -> str:
    return f"/api/hooks/{segment(hook)}"
