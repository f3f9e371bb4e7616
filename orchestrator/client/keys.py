"""`client.keys`: who may call."""

from collections.abc import Iterator, Sequence

from orchestrator.client.answers import Key, NewKey
from orchestrator.client.transport import Transport, segment


class Keys:
    """API keys; every call needs the scope `admin`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        workspace: str | None = None,
        idempotency_key: str | None = None,
    ) -> NewKey:
        """Make a key, by default of your own key's workspace; its text is in `key`, this once."""
        body = {"name": name, "scopes": list(scopes)}
        if workspace is not None:
            body["workspace"] = workspace
        made: NewKey = self._transport.write("POST", "/api/keys", body, idempotency_key=idempotency_key)
        return made

    def list(self, limit: int | None = None) -> Iterator[Key]:
        """Keys, newest first, revoked ones too."""
        return self._transport.pages("/api/keys", limit)

    def get(self, key: str) -> Key:
        """A key by its id."""
        found: Key = self._transport.get(f"/api/keys/{segment(key)}")
        return found

    def revoke(self, key: str) -> Key:
        """End the key of this id; it stops working within a second."""
        revoked: Key = self._transport.write("DELETE", f"/api/keys/{segment(key)}")
        return revoked
