"""Who acts: the key behind a call, the workspace it belongs to and what it may do there."""

from dataclasses import dataclass

from models.errors import ForbiddenError

SCOPES = ("read", "operate", "define", "admin", "agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """The key that makes a call. `admin` among `scopes` implies every other scope.

    agent_id: the agent that the key belongs to, and acts for alone. source: the address that this call came from.
    """

    workspace_id: str
    key_id: str
    scopes: frozenset[str]
    name: str
    agent_id: str | None = None
    source: str | None = None

    def may(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes

    def require(self, *any_of: str) -> None:
        """Raises ForbiddenError unless the key carries one of the scopes."""
        if not any(self.may(scope) for scope in any_of):
            needed = " or ".join(any_of)
            raise ForbiddenError(
                f"This call needs a key with the scope {needed}; the key {self.name!r} carries "
                f"{', '.join(sorted(self.scopes)) or 'none'}. Use another key, or have an admin make one"
            )
