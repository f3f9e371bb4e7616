"""Runs of agents: once a key, one at a time in a session, bounded in all, replayed when asked again.

Source: spec "gateway" §4.
"""

import asyncio
import json
import re
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import structlog

from orchestrator.gateway import demo, finals
from orchestrator.gateway.finals import Final
from orchestrator.gateway.ledger import Interrupted, Ledger, now_ms
from orchestrator.gateway.refusal import RefusalError, invalid
from orchestrator.gateway.script import Script, script_of

_DEFAULT_TIMEOUT = 48 * 3600
_REPLAY_SECONDS = 300.0
_REPLAY_MOST = 1000
_AGENT = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_COMMANDS = ("/new", "/reset")

log = structlog.get_logger(__name__)

Announce = Callable[[str, str, Mapping[str, Any]], None]


@dataclass(slots=True, eq=False, kw_only=True)
class Run:
    """One run in memory; gone with the process."""

    run_id: str
    session_key: str
    agent: str
    message: str
    timeout: float
    script: Script
    accepted_at: int
    lock: asyncio.Lock
    done: asyncio.Event = field(default_factory=asyncio.Event)
    final: Final | None = None
    task: "asyncio.Task[None] | None" = None
    started_at: int | None = None
    ended_at: int | None = None
    ended: float = 0.0
    seq: int = 0


class Runs:
    """All runs of one boot. announce(event, session key, payload) tells those who listen."""

    def __init__(self, ledger: Ledger, *, most: int, announce: Announce) -> None:
        self._ledger = ledger
        self._announce = announce
        self._slots = asyncio.Semaphore(most)
        self._live: dict[str, Run] = {}
        self._ended: OrderedDict[str, Run] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def find(self, run_id: str) -> Run | None:
        """A live run, or one whose answer is still kept."""
        self._forget()
        return self._live.get(run_id) or self._ended.get(run_id)

    def submit(self, params: Mapping[str, Any]) -> tuple[Run, bool]:
        """The run of a key, and whether it is new. Raises RefusalError, and then no run exists."""
        run_id = params["idempotencyKey"]
        known = self.find(run_id)
        if known is not None:
            return known, False
        message = params["message"]
        if message.lstrip().startswith(_COMMANDS):
            raise RefusalError("FORBIDDEN", "session commands need operator.admin")
        agent, session_key = _where(params)
        script = script_of(message, run_id)
        _refuse_as_scripted(script, agent)
        timeout = params.get("timeout", _DEFAULT_TIMEOUT)
        return self._accept(run_id, session_key, agent, message, timeout, script), True

    def resume(self, interrupted: Interrupted) -> Run:
        """Take up a turn that a crash interrupted, under a new id, as the real gateway does."""
        message = (
            "[System] Your previous turn was interrupted by a gateway restart. Go on.\n\n"
            + interrupted.message
        )
        return self._accept(
            str(uuid.uuid4()),
            interrupted.session_key,
            interrupted.agent,
            message,
            _DEFAULT_TIMEOUT,
            script_of(message, None),
        )

    def abort(self, session_key: str, run_id: str | None) -> list[str]:
        """End the live runs of a session, or one of them; their ids."""
        found = [
            run
            for run in self._live.values()
            if run.session_key == session_key.lower() and run_id in (None, run.run_id)
        ]
        for run in found:
            if run.task is not None:
                run.task.cancel()
            # A task that has not begun is never told that it was cancelled.
            self._finish(run, finals.aborted(run.run_id))
        return [run.run_id for run in found]

    async def drain(self, seconds: float) -> None:
        """Wait for what is running, then give it up: its rows stay open, as after a crash."""
        tasks = [run.task for run in self._live.values() if run.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _accept(
        self, run_id: str, session_key: str, agent: str, message: str, timeout: float, script: Script
    ) -> Run:
        run = Run(
            run_id=run_id,
            session_key=session_key,
            agent=agent,
            message=message,
            timeout=timeout,
            script=script,
            accepted_at=now_ms(),
            lock=self._locks.setdefault(session_key, asyncio.Lock()),
        )
        self._live[run_id] = run
        self._ledger.add(run_id, session_key, agent, message)
        run.task = asyncio.create_task(self._execute(run))
        return run

    async def _execute(self, run: Run) -> None:
        try:
            async with run.lock, self._slots:
                run.started_at = now_ms()
                self._ledger.start(run.run_id)
                self._tell_task(run)
                self._tell(run, "lifecycle", {"phase": "start"})
                async with asyncio.timeout(run.timeout):
                    final = await self._play(run)
        except TimeoutError:
            final = finals.timed_out(run.run_id)
        except Exception as error:
            log.exception("agent failed", run=run.run_id)
            final = finals.model_failed(run.run_id, f"the agent failed: {type(error).__name__}: {error}")
        self._finish(run, final)

    async def _play(self, run: Run) -> Final:
        script, began = run.script, now_ms()
        await asyncio.sleep(script.delay)
        if script.hang:
            await asyncio.Event().wait()
        if script.timeout:
            return finals.timed_out(run.run_id)
        match script.fail:
            case "model":
                return finals.model_failed(run.run_id, "500 the provider is overloaded")
            case "credit":
                return finals.model_failed(run.run_id, "402 insufficient credit at the provider")
            case "empty":
                return finals.empty(run.run_id)
        text = await self._answer(run)
        return finals.succeeded(run.run_id, run.message, text, script, now_ms() - began)

    async def _answer(self, run: Run) -> str:
        script = run.script
        if script.stream:
            said = ""
            for piece in script.stream:
                said += piece
                self._tell(run, "assistant", {"text": said, "delta": piece})
                await asyncio.sleep(0)
            return said
        if script.size:
            return "x" * script.size
        if script.reply is None:
            return demo.answer(run.agent, run.message)
        return script.reply if isinstance(script.reply, str) else json.dumps(script.reply)

    def _finish(self, run: Run, final: Final) -> None:
        if run.final is not None:
            return
        run.final = final
        run.ended_at = now_ms()
        run.ended = time.monotonic()
        self._ledger.end(run.run_id, final.ledger, text=final.text, meta=final.meta, summary=final.summary)
        del self._live[run.run_id]
        self._ended[run.run_id] = run
        self._tell(run, "lifecycle", {"phase": "end" if final.text is not None else "error"})
        self._tell_task(run)
        run.done.set()

    def _forget(self) -> None:
        old = time.monotonic() - _REPLAY_SECONDS
        while self._ended:
            first = next(iter(self._ended.values()))
            if len(self._ended) <= _REPLAY_MOST and first.ended >= old:
                return
            del self._ended[first.run_id]

    def _tell(self, run: Run, stream: str, data: Mapping[str, Any]) -> None:
        run.seq += 1
        payload = {
            "runId": run.run_id,
            "sessionKey": run.session_key,
            "agentId": run.agent,
            "stream": stream,
            "seq": run.seq,
            "ts": now_ms(),
            "data": data,
        }
        self._announce("agent", run.session_key, payload)

    def _tell_task(self, run: Run) -> None:
        payload = {"action": "upserted", "task": self._ledger.task(run.run_id)}
        self._announce("task", run.session_key, payload)


def _where(params: Mapping[str, Any]) -> tuple[str, str]:
    """The agent and the canonical session key. Raises RefusalError where they disagree or make no name."""
    key = params.get("sessionKey", "").lower()
    named = key.split(":")[1] if key.startswith("agent:") else None
    agent = params.get("agentId", named or "main").lower()
    if not _AGENT.fullmatch(agent):
        raise invalid(f'unknown agent id "{agent}"')
    if named is not None and named != agent:
        raise invalid(f'agent "{agent}" does not match session key agent "{named}"')
    return agent, key if named is not None else f"agent:{agent}:{key or 'main'}"


def _refuse_as_scripted(script: Script, agent: str) -> None:
    match script.fail:
        case "draining":
            raise RefusalError("UNAVAILABLE", "Gateway is draining; new tasks are not accepted")
        case "unknown_agent":
            raise invalid(f'unknown agent id "{agent}"')
        case "forbidden":
            raise RefusalError(
                "FORBIDDEN",
                "missing scope: operator.write",
                details={
                    "code": "MISSING_SCOPE",
                    "missingScope": "operator.write",
                    "requiredScopes": ["operator.write"],
                },
            )
        case "invalid":
            raise invalid("invalid agent params: at /message: refused as scripted")
