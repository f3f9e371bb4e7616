"""The methods that a client may call: their table, their scopes, and the few that belong to none of the subjects.

Source: spec "gateway" §4 and §5.
"""

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from orchestrator.gateway.agents import MODEL, Agents
from orchestrator.gateway.database import now_ms
from orchestrator.gateway.params import METHODS, check
from orchestrator.gateway.peer import Peer
from orchestrator.gateway.refusal import RefusalError, invalid, missing_scope, restarting

READ, WRITE, ADMIN, PAIRING = "operator.read", "operator.write", "operator.admin", "operator.pairing"

log = structlog.get_logger(__name__)

Serve = Callable[[Peer, str, dict[str, Any]], Awaitable[None]]
# method → (scope, what answers it)
Table = Mapping[str, tuple[str | None, Serve]]


def answering(answer: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Serve:
    """Serve a method whose answer follows from its parameters alone."""

    async def serve(peer: Peer, id_: str, params: dict[str, Any]) -> None:
        peer.respond(id_, answer(params))

    return serve


class Methods:
    """Answers requests, each within its scope."""

    def __init__(self, agents: Agents, *tables: Table) -> None:
        self.draining = False
        self._agents = agents
        own: Table = {
            "health": (None, answering(self._health)),
            "models.list": (READ, answering(self._models)),
        }
        self._table = {name: entry for table in (own, *tables) for name, entry in table.items()}

    def names(self) -> list[str]:
        return sorted(self._table)

    async def answer(self, peer: Peer, id_: str, method: str, params: Any) -> None:
        """Answer one request; what is wrong with it goes back as an error frame."""
        try:
            serve = self._allowed(peer, method)
            await serve(peer, id_, check(method, METHODS[method], params))
        except RefusalError as error:
            peer.refuse(id_, error)
        except Exception as error:
            log.exception("request failed", method=method)
            peer.refuse(id_, RefusalError("UNAVAILABLE", f"{type(error).__name__}: {error}"))

    def _allowed(self, peer: Peer, method: str) -> Serve:
        """What serves the method to this client now. Raises RefusalError."""
        # What is unknown takes an admin to hear of.
        scope, serve = self._table.get(method, (ADMIN, None))
        if peer.login is None or not peer.login.may(scope):
            raise missing_scope(scope)
        if self.draining and method != "health":
            raise restarting()
        if serve is None:
            raise invalid(f"unknown method: {method}")
        return serve

    def _health(self, _params: Mapping[str, Any]) -> Mapping[str, Any]:
        known = [{"agentId": agent["id"]} for agent in self._agents.list()]
        return {"ok": True, "ts": now_ms(), "pid": os.getpid(), "agents": known}

    def _models(self, _params: Mapping[str, Any]) -> Mapping[str, Any]:
        provider, _, model = MODEL.partition("/")
        return {"models": [{"id": model, "name": model, "provider": provider}]}
