"""The methods that run agents, and the faults with which their answers arrive. Source: spec "gateway" §4."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

from orchestrator.gateway.finals import Final, name_of
from orchestrator.gateway.methods import ADMIN, WRITE, Serve, Table
from orchestrator.gateway.params import RESERVED, TASK_INPUT, check
from orchestrator.gateway.peer import Peer
from orchestrator.gateway.refusal import RefusalError, invalid
from orchestrator.gateway.run import DEFAULT_TIMEOUT, Asked, Run
from orchestrator.gateway.runs import Runs
from orchestrator.gateway.script import attempt_of, script_of
from orchestrator.gateway.sessions import canonical

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


class RunMethods:
    """Starts runs and answers for them. `tasks_execute`: whether the method of that name exists."""

    def __init__(self, runs: Runs, *, tasks_execute: bool) -> None:
        self._runs = runs
        self._tasks_execute = tasks_execute
        self._dropped: set[str] = set()

    def table(self) -> Table:
        found: dict[str, tuple[str | None, Serve]] = {
            "agent": (WRITE, self._agent),
            "agent.wait": (WRITE, self._wait),
            "chat.send": (WRITE, self._chat_send),
            "sessions.send": (WRITE, self._sessions_send),
        }
        return found | ({"tasks.execute": (WRITE, self._execute)} if self._tasks_execute else {})

    async def _agent(self, peer: Peer, id_: str, params: dict[str, Any]) -> None:
        """Two responses on the same id: accepted, and how it ended."""
        for name in RESERVED:
            if name in params:
                raise invalid(f"{name} is reserved for plugin-owned subagent runs")
        if "model" in params and not _may_admin(peer):
            raise invalid("provider/model overrides are not authorized for this caller.")
        asked = Asked(
            run_id=params["idempotencyKey"],
            message=params["message"],
            agent=params.get("agentId", ""),
            session_key=params.get("sessionKey", ""),
            timeout=params.get("timeout", DEFAULT_TIMEOUT),
            attempt=attempt_of(params["idempotencyKey"]),
            admin=_may_admin(peer),
        )
        run, new = self._submit(peer, asked)
        if run is None or run.script.silent is True:
            return
        where = {"runId": run.run_id, "sessionKey": run.session_key, "agentId": run.agent}
        if not new and run.is_settling:
            peer.respond(id_, where | {"status": "in_flight"})
            return
        if new:
            peer.respond(id_, where | {"status": "accepted", "acceptedAt": run.accepted_at})
        final = await self._final(peer, run)
        if final is not None:
            _say(peer, id_, run, final.payload, ok=final.ok, error=final.error)

    async def _execute(self, peer: Peer, id_: str, params: dict[str, Any]) -> None:
        """One response, at the end. No key: what is sent again is done again."""
        given = check("tasks.execute", TASK_INPUT, params["taskInput"], "/taskInput")
        asked = Asked(
            run_id=str(uuid.uuid4()),
            message="\n\n".join((given["title"], given["description"], _context(given.get("context")))),
            agent=params["agentKey"],
            session_key=params["sessionKey"],
            attempt=attempt_of(params["sessionKey"], "-a"),
            admin=_may_admin(peer),
        )
        run, _ = self._submit(peer, asked)
        if run is None or run.script.silent is True:
            return
        final = await self._final(peer, run)
        if final is None:
            return
        if final.text is None:
            raise RefusalError("UNAVAILABLE", final.summary)
        _say(peer, id_, run, {"ok": True, "result": _result(final)}, ok=True, error=None)

    async def _final(self, peer: Peer, run: Run) -> Final | None:
        """How the run ended; None: the script has this client not told."""
        if run.script.drop in (True, "accepted") and self._drop_once(peer, run.run_id):
            return None
        await run.done.wait()
        if run.script.drop == "final" and self._drop_once(peer, run.run_id):
            return None
        return None if run.script.silent else run.final

    def _submit(self, peer: Peer, asked: Asked) -> tuple[Run | None, bool]:
        unaccepted = script_of(asked.message, asked.attempt).drop == "unaccepted"
        if unaccepted and self._drop_once(peer, asked.run_id):
            return None, False
        return self._runs.submit(asked)

    def _drop_once(self, peer: Peer, key: str) -> bool:
        first = key not in self._dropped
        if first:
            self._dropped.add(key)
            peer.cut()
        return first

    async def _chat_send(self, peer: Peer, id_: str, params: dict[str, Any]) -> None:
        self._send(peer, id_, params, params["sessionKey"], params["idempotencyKey"])

    async def _sessions_send(self, peer: Peer, id_: str, params: dict[str, Any]) -> None:
        self._send(peer, id_, params, params["key"], params.get("idempotencyKey") or str(uuid.uuid4()))

    def _send(self, peer: Peer, id_: str, params: Mapping[str, Any], key: str, run_id: str) -> None:
        """One response; how it ends is told by events and agent.wait."""
        asked = Asked(
            run_id=run_id,
            message=params["message"],
            agent=params.get("agentId", ""),
            session_key=canonical(key, params.get("agentId", "main").lower()),
            timeout=params["timeoutMs"] / 1000 if "timeoutMs" in params else DEFAULT_TIMEOUT,
            attempt=attempt_of(run_id),
            admin=_may_admin(peer),
        )
        run, new = self._runs.submit(asked)
        peer.respond(id_, {"runId": run.run_id, "status": "started" if new else "in_flight"})

    async def _wait(self, peer: Peer, id_: str, params: dict[str, Any]) -> None:
        found = await self._runs.wait(params["runId"], params.get("timeoutMs", _WAIT_MS) / 1000)
        peer.respond(id_, {"runId": params["runId"], "status": "timeout"} if found is None else found)


def _may_admin(peer: Peer) -> bool:
    return peer.login is not None and peer.login.may(ADMIN)


def _context(context: Any) -> str:
    return context if isinstance(context, str) else json.dumps(context)


def _result(final: Final) -> dict[str, Any]:
    """An answer in the shape of tasks.execute. What is unknown of its usage is not there."""
    meta = final.payload["result"]["meta"]
    usage = meta["agentMeta"].get("usage")
    found = {"output": final.text, "model": name_of(meta["agentMeta"]), "durationMs": meta["durationMs"]}
    if usage is None:
        return found
    return found | {"tokensUsed": {"input": usage["input"], "output": usage["output"]}}


def _say(
    peer: Peer, id_: str, run: Run, payload: Mapping[str, Any], *, ok: bool, error: Mapping[str, Any] | None
) -> None:
    """The answer, as the script wants it to arrive."""
    if run.script.garbage == "noise":
        for message in _NOISE:
            peer.raw(message)
    if run.script.garbage == "final":
        peer.raw(f'{{"type":"res","id":"{id_}","ok":true,"payload":"no object"}}')
        return
    for _ in range(2 if run.script.twice else 1):
        peer.respond(id_, payload, ok=ok, error=error)
