"""The methods that a client may call. Source: spec "gateway" §4 and §5."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from orchestrator.gateway import demo
from orchestrator.gateway.finals import Final
from orchestrator.gateway.ledger import Ledger, now_ms
from orchestrator.gateway.params import METHODS, check
from orchestrator.gateway.peer import Peer
from orchestrator.gateway.refusal import RefusalError, invalid, restarting
from orchestrator.gateway.runs import Run, Runs
from orchestrator.gateway.script import script_of

_READ, _WRITE = "operator.read", "operator.write"
_LIMIT = 200
_WAIT_MS = 30_000
_NOISE: tuple[str | bytes, ...] = (
    "not json",
    b"\x00\xff\xfe",
    "[]",
    "null",
    '{"type":"res"}',
    '{"type":"res","id":7,"ok":true}',
    '{"type":"event","event":null}',
    '{"type":"res","id":"none of yours","ok":true,"payload":{"status":"ok"}}',
    "[" * 100_000,
)


class Methods:
    """Answers requests, each within its scope."""

    def __init__(self, runs: Runs, ledger: Ledger) -> None:
        self.draining = False
        self._runs = runs
        self._ledger = ledger
        self._dropped: set[str] = set()
        self._table: dict[str, tuple[str | None, Callable[[Peer, str, dict[str, Any]], Awaitable[None]]]] = {
            "agent": (_WRITE, self._agent),
            "agent.wait": (_WRITE, self._wait),
            "agents.list": (_READ, self._agents),
            "chat.abort": (_WRITE, self._chat_abort),
            "chat.history": (_READ, self._history),
            "health": (None, self._health),
            "sessions.abort": (_WRITE, self._sessions_abort),
            "sessions.messages.subscribe": (_READ, self._subscribe),
            "sessions.messages.unsubscribe": (_READ, self._unsubscribe),
            "tasks.list": (_READ, self._tasks),
        }

    def names(self) -> list[str]:
        return sorted(self._table)

    async def answer(self, peer: Peer, id_: str, method: str, params: Any) -> None:
        """Answer one request; what is wrong with it goes back as an error frame."""
        try:
            scope, serve = self._table.get(method) or _unknown(method)
            _check_scope(peer, scope)
            if self.draining and method != "health":
                raise restarting()
            await serve(peer, id_, check(method, METHODS[method], params))
        except RefusalError as error:
            peer.refuse(id_, error)

    async def _agent(self, peer: Peer, id_: str, params: dict[str, Any]) -> None:
        run, new = self._submit(peer, params)
        if run is None or run.script.silent:
            return
        where = {"runId": run.run_id, "sessionKey": run.session_key, "agentId": run.agent}
        if not new and run.final is None:
            peer.respond(id_, where | {"status": "in_flight"})
            return
        if new:
            peer.respond(id_, where | {"status": "accepted", "acceptedAt": run.accepted_at})
        if run.script.drop in (True, "accepted") and self._drop_once(peer, run.run_id):
            return
        await run.done.wait()
        if run.final is not None:
            _say(peer, id_, run, run.final)

    def _submit(self, peer: Peer, params: Mapping[str, Any]) -> tuple[Run | None, bool]:
        key = params["idempotencyKey"]
        if script_of(params["message"], key).drop == "unaccepted" and self._drop_once(peer, key):
            return None, False
        return self._runs.submit(params)

    def _drop_once(self, peer: Peer, key: str) -> bool:
        first = key not in self._dropped
        if first:
            self._dropped.add(key)
            peer.cut()
        return first

    async def _wait(self, peer: Peer, id_: str, params: dict[str, Any]) -> None:
        run = self._runs.find(params["runId"])
        seconds = params.get("timeoutMs", _WAIT_MS) / 1000
        try:
            async with asyncio.timeout(seconds):
                # An unknown run is waited for too: the caller can't tell the two apart.
                await (asyncio.Event() if run is None else run.done).wait()
        except TimeoutError:
            pass  # told by the missing end time
        if run is None or run.final is None:
            peer.respond(id_, {"runId": params["runId"], "status": "timeout"})
            return
        times = {"startedAt": run.started_at, "endedAt": run.ended_at}
        peer.respond(id_, run.final.waited() | times)

    async def _sessions_abort(self, peer: Peer, id_: str, params: dict[str, Any]) -> None:
        ids = self._runs.abort(params["key"], params.get("runId"))
        status = "aborted" if ids else "no-active-run"
        peer.respond(id_, {"ok": True, "abortedRunId": ids[0] if ids else None, "status": status})

    async def _chat_abort(self, peer: Peer, id_: str, params: dict[str, Any]) -> None:
        ids = self._runs.abort(params["sessionKey"], params.get("runId"))
        peer.respond(id_, {"ok": True, "aborted": bool(ids), "runIds": ids})

    async def _tasks(self, peer: Peer, id_: str, params: dict[str, Any]) -> None:
        rows = self._ledger.tasks(params.get("sessionKey"), params.get("status"), params.get("limit", _LIMIT))
        peer.respond(id_, {"tasks": rows})

    async def _history(self, peer: Peer, id_: str, params: dict[str, Any]) -> None:
        key = params["sessionKey"].lower()
        messages = self._ledger.history(key, params.get("limit", _LIMIT))
        peer.respond(id_, {"sessionKey": key, "messages": messages})

    async def _subscribe(self, peer: Peer, id_: str, params: dict[str, Any]) -> None:
        peer.sessions.add(params["key"].lower())
        peer.respond(id_, {"subscribed": True, "key": params["key"].lower()})

    async def _unsubscribe(self, peer: Peer, id_: str, params: dict[str, Any]) -> None:
        peer.sessions.discard(params["key"].lower())
        peer.respond(id_, {"subscribed": False, "key": params["key"].lower()})

    async def _agents(self, peer: Peer, id_: str, _params: dict[str, Any]) -> None:
        known = [{"id": name, "model": {"primary": "local/scripted-1"}} for name in ("main", *demo.names())]
        peer.respond(id_, {"defaultId": "main", "mainKey": "main", "scope": "per-sender", "agents": known})

    async def _health(self, peer: Peer, id_: str, _params: dict[str, Any]) -> None:
        known = [{"agentId": name} for name in ("main", *demo.names())]
        peer.respond(id_, {"ok": True, "ts": now_ms(), "pid": os.getpid(), "agents": known})


def _say(peer: Peer, id_: str, run: Run, final: Final) -> None:
    """The answer, as the script wants it to arrive."""
    if run.script.garbage == "noise":
        for message in _NOISE:
            peer.raw(message)
    if run.script.garbage == "final":
        peer.raw(f'{{"type":"res","id":"{id_}","ok":true,"payload":"no object"}}')
        return
    for _ in range(2 if run.script.twice else 1):
        peer.respond(id_, final.payload, ok=final.ok, error=final.error)


def _unknown(method: str) -> Any:
    raise invalid(f"unknown method: {method}")


def _check_scope(peer: Peer, scope: str | None) -> None:
    if peer.login is not None and peer.login.may(scope):
        return
    raise RefusalError(
        "FORBIDDEN",
        f"missing scope: {scope}",
        details={"code": "MISSING_SCOPE", "missingScope": scope, "requiredScopes": [scope]},
    )
