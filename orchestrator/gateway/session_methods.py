"""The methods on sessions, their transcripts, and the ledger of runs. Source: spec "gateway" §4 and §5."""

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.gateway.ledger import Ledger
from orchestrator.gateway.methods import ADMIN, READ, WRITE, Table, answering
from orchestrator.gateway.peer import Peer
from orchestrator.gateway.refusal import invalid
from orchestrator.gateway.runs import Runs
from orchestrator.gateway.sessions import Sessions, canonical

_LIMIT = 200


class SessionMethods:
    """forget_resume(session key): a turn that would be taken up in that session is not."""

    def __init__(
        self, runs: Runs, ledger: Ledger, sessions: Sessions, forget_resume: Callable[[str], None]
    ) -> None:
        self._runs = runs
        self._ledger = ledger
        self._sessions = sessions
        self._forget_resume = forget_resume

    def table(self) -> Table:
        return {
            "chat.abort": (WRITE, answering(self._chat_abort)),
            "chat.history": (READ, answering(self._history)),
            "sessions.abort": (WRITE, answering(self._abort)),
            "sessions.delete": (ADMIN, answering(self._delete)),
            "sessions.describe": (READ, answering(self._describe)),
            "sessions.messages.subscribe": (READ, self._subscribe),
            "sessions.messages.unsubscribe": (READ, self._unsubscribe),
            "tasks.cancel": (WRITE, answering(self._cancel)),
            "tasks.get": (READ, answering(self._task)),
            "tasks.list": (READ, answering(self._tasks)),
        }

    def _abort(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        ids = self._runs.abort(canonical(params["key"]), params.get("runId"))
        status = "aborted" if ids else "no-active-run"
        return {"ok": True, "abortedRunId": ids[0] if ids else None, "status": status}

    def _chat_abort(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        ids = self._runs.abort(canonical(params["sessionKey"]), params.get("runId"))
        return {"ok": True, "aborted": bool(ids), "runIds": ids}

    def _delete(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ends what goes on in the session, and what would be taken up after a crash."""
        key = _key(params)
        self._forget_resume(key)
        self._runs.abort(key, None)
        return {"ok": True, "key": key, "deleted": self._sessions.delete(key), "archived": []}

    def _describe(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"session": self._sessions.describe(_key(params))}

    def _history(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        key = canonical(params["sessionKey"])
        return {"sessionKey": key, "messages": self._sessions.history(key, params.get("limit", _LIMIT))}

    async def _subscribe(self, peer: Peer, id_: str, params: dict[str, Any]) -> None:
        peer.sessions.add(_key(params))
        peer.respond(id_, {"subscribed": True, "key": _key(params)})

    async def _unsubscribe(self, peer: Peer, id_: str, params: dict[str, Any]) -> None:
        peer.sessions.discard(_key(params))
        peer.respond(id_, {"subscribed": False, "key": _key(params)})

    def _tasks(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        status = params.get("status", [])
        wanted = [status] if isinstance(status, str) else [str(one) for one in status]
        rows = self._ledger.tasks(params.get("sessionKey"), wanted, params.get("limit", _LIMIT))
        return {"tasks": [row for row in rows if params.get("agentId") in (None, row["agentId"])]}

    def _task(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return {"task": self._ledger.of_task(params["taskId"])}
        except KeyError:
            raise invalid(f'task "{params["taskId"]}" not found') from None

    def _cancel(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            task = self._ledger.of_task(params["taskId"])
        except KeyError:
            return {"found": False, "cancelled": False, "reason": "task not found"}
        ids = self._runs.abort(task["sessionKey"], task["runId"])
        return {"found": True, "cancelled": bool(ids), "task": self._ledger.of_task(params["taskId"])}


def _key(params: Mapping[str, Any]) -> str:
    return canonical(params["key"], params.get("agentId", "main").lower())
