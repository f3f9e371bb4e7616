"""Runs of agents: once a key, one at a time in a session, bounded in all, replayed when asked again.

Source: spec "gateway" §4.
"""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any
from weakref import WeakValueDictionary

import structlog

from orchestrator.gateway import finals
from orchestrator.gateway.agents import Agents
from orchestrator.gateway.database import now_ms
from orchestrator.gateway.events import Events
from orchestrator.gateway.finals import Final
from orchestrator.gateway.kept import Kept
from orchestrator.gateway.ledger import Interrupted, Ledger
from orchestrator.gateway.player import Player
from orchestrator.gateway.refusal import RefusalError, invalid, missing_scope
from orchestrator.gateway.run import DEFAULT_TIMEOUT, Asked, Run
from orchestrator.gateway.script import Script, script_of
from orchestrator.gateway.sessions import Sessions, canonical

_REPLAYS, _REPLAY_SECONDS = 1000, 300.0
_WAITS, _WAIT_SECONDS = 5000, 600.0
_COMMANDS = ("/new", "/reset")
_TAKEN_UP = "[System] Your previous turn was interrupted by a gateway restart. Go on.\n\n"
_LATE = 1 << 30

log = structlog.get_logger(__name__)


class Runs:
    """All runs of one boot. `most` go on at once, over all sessions."""

    def __init__(
        self,
        ledger: Ledger,
        sessions: Sessions,
        agents: Agents,
        player: Player,
        events: Events,
        *,
        most: int,
    ) -> None:
        self._ledger = ledger
        self._sessions = sessions
        self._agents = agents
        self._player = player
        self._events = events
        self._slots = asyncio.Semaphore(most)
        self._live: dict[str, Run] = {}
        self._ended: Kept[Run] = Kept(_REPLAYS, _REPLAY_SECONDS)
        self._waited: Kept[Mapping[str, Any]] = Kept(_WAITS, _WAIT_SECONDS)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def find(self, run_id: str) -> Run | None:
        """A live run, or one whose answer is still kept."""
        return self._live.get(run_id) or self._ended.get(run_id)

    async def wait(self, run_id: str, seconds: float) -> Mapping[str, Any] | None:
        """How a run ended, as agent.wait tells it. None: not yet, or never heard of; one can't tell the two apart."""
        run = self._live.get(run_id)
        if run is not None or self._waited.get(run_id) is None:
            try:
                async with asyncio.timeout(seconds):
                    await (asyncio.Event() if run is None else run.done).wait()
            except TimeoutError:
                pass  # told by the missing answer
        return self._waited.get(run_id)

    def submit(self, asked: Asked) -> tuple[Run, bool]:
        """The run of a key, and whether it is new. Raises RefusalError, and then no run exists."""
        known = self.find(asked.run_id)
        if known is not None:
            return known, False
        resets = asked.message.lstrip().startswith(_COMMANDS)
        if resets and not asked.admin:
            raise missing_scope("operator.admin")
        agent, session_key = _where(asked)
        if not self._agents.knows(agent):
            raise _unknown_agent(agent)
        script = script_of(asked.message, asked.attempt)
        self._refuse_as_scripted(script, agent)
        return self._accept(asked, session_key, agent, script, resets=resets), True

    def resume(self, interrupted: Interrupted) -> Run:
        """Take up a turn that a crash interrupted, under a new id, as the real gateway does."""
        message = _TAKEN_UP + interrupted.message
        script = script_of(message, _LATE)
        if script.crash:
            script = Script(reply=script.reply, model=script.model, usage=script.usage)
        asked = Asked(run_id=str(uuid.uuid4()), message=message, timeout=DEFAULT_TIMEOUT)
        return self._accept(asked, interrupted.session_key, interrupted.agent, script)

    def abort(self, session_key: str, run_id: str | None) -> list[str]:
        """End the live runs of a session, or one of them; their ids."""
        found = [
            run
            for run in self._live.values()
            if run.session_key == session_key and run_id in (None, run.run_id)
        ]
        for run in found:
            if run.task is not None:
                run.task.cancel()
            # A task that has not begun is never told that it was cancelled.
            self._finish(run, finals.aborted(run.run_id))
        return [run.run_id for run in found]

    async def drain(self, seconds: float) -> None:
        """Wait for what is running, refuse what waits for its turn; what is late is left as after a crash."""
        await asyncio.sleep(0)  # what was accepted just now begins
        for run in [run for run in self._live.values() if run.started_at is None]:
            if run.task is not None:
                run.task.cancel()
            self._finish(run, finals.draining(run.run_id))
        tasks = [run.task for run in self._live.values() if run.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        await self.forsake()

    async def forsake(self) -> None:
        """Stop at once and tell nobody: rows stay open, as after a crash."""
        tasks = [run.task for run in self._live.values() if run.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(
        self, asked: Asked, session_key: str, agent: str, script: Script, *, resets: bool = False
    ) -> Run:
        run = Run(
            run_id=asked.run_id,
            session_key=session_key,
            session_id=self._sessions.open(session_key),
            agent=agent,
            message=asked.message,
            timeout=asked.timeout,
            script=script,
            accepted_at=now_ms(),
            lock=self._locks.setdefault(session_key, asyncio.Lock()),
            resets=resets,
        )
        self._ledger.add(run.run_id, session_key, run.session_id, agent, run.message)
        self._live[run.run_id] = run
        run.task = asyncio.create_task(self._execute(run))
        return run

    async def _execute(self, run: Run) -> None:
        try:
            async with run.lock, self._slots:
                run.started_at = now_ms()
                self._ledger.start(run.run_id)
                async with asyncio.timeout(run.timeout):
                    final = self._reset(run) if run.resets else await self._player.play(run)
        except TimeoutError:
            final = finals.timed_out(run.run_id)
        except Exception as error:
            log.exception("agent failed", run=run.run_id)
            final = finals.model_failed(run.run_id, f"the agent failed: {type(error).__name__}: {error}")
        self._finish(run, final)

    def _reset(self, run: Run) -> Final:
        session_id = self._sessions.reset(run.session_key)
        text = "✅ New session started."
        return finals.succeeded(run.run_id, session_id, run.message, text, Script(usage=None), 0)

    def _finish(self, run: Run, final: Final) -> None:
        if run.final is not None:
            return
        run.final = final
        run.ended_at = now_ms()
        self._ledger.end(run.run_id, final.ledger, text=final.text, meta=final.meta, summary=final.summary)
        del self._live[run.run_id]
        self._ended.put(run.run_id, run)
        times = {"startedAt": run.started_at, "endedAt": run.ended_at}
        self._waited.put(run.run_id, final.waited() | times)
        self._events.ended(run, final)
        run.done.set()

    def _refuse_as_scripted(self, script: Script, agent: str) -> None:
        if script.crash and not self._player.can_crash:
            raise invalid("@gateway directive: crash: this gateway is part of another process")
        match script.fail:
            case "draining":
                raise RefusalError("UNAVAILABLE", "Gateway is draining; new tasks are not accepted")
            case "unknown_agent":
                raise _unknown_agent(agent)
            case "forbidden":
                raise missing_scope("operator.write")
            case "invalid":
                raise invalid("invalid agent params: at /message: refused as scripted")


def _where(asked: Asked) -> tuple[str, str]:
    """The agent and the canonical session key. Raises RefusalError where they disagree."""
    key = asked.session_key.lower()
    named = key.split(":")[1] if key.startswith("agent:") else ""
    agent = asked.agent.lower() or named or "main"
    if named and named != agent:
        raise invalid(
            "Multiple agents are configured, but session agent resolution has no explicit owner. "
            f'The agent-scoped session key belongs to "{named}", not "{agent}".'
        )
    return agent, canonical(key, agent)


def _unknown_agent(agent: str) -> RefusalError:
    return invalid(f'invalid agent params: unknown agent id "{agent}"')
