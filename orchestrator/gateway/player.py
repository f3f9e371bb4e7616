"""What an agent does in a run: as scripted, else as the agents of the demo. Source: spec "gateway" §4."""

import asyncio
import json
from collections.abc import Callable

from orchestrator.gateway import demo, finals
from orchestrator.gateway.database import now_ms
from orchestrator.gateway.events import Events
from orchestrator.gateway.files import Files
from orchestrator.gateway.finals import Final
from orchestrator.gateway.run import Run
from orchestrator.gateway.script import PROVIDER_FAILURES

Die = Callable[[], None]


class Player:
    """Plays runs. `die` ends the gateway as kill -9 would."""

    def __init__(self, files: Files, events: Events, die: Die | None) -> None:
        self._files = files
        self._events = events
        self._die = die

    @property
    def can_crash(self) -> bool:
        return self._die is not None

    async def play(self, run: Run) -> Final:
        """The run from its start to its end. Raises whatever an agent of the demo raises."""
        began = now_ms()
        self._events.started(run, finals.model_of(run.script))
        await asyncio.sleep(run.script.delay)
        text = self._text(run)
        said = await self._speak(run, text)
        if run.script.crash and self._die is not None:
            self._die()
        if run.script.hang or run.script.crash:
            await asyncio.Event().wait()
        failure = _failure(run)
        if failure is not None:
            return failure
        if not said:
            self._events.said(run, text, text)
        final = finals.succeeded(run.run_id, run.session_id, run.message, text, run.script, now_ms() - began)
        if final.output_tokens is not None:
            self._events.used(run, final.output_tokens)
        return final

    async def _speak(self, run: Run, text: str) -> bool:
        """Tell the pieces of a stream as time goes on; False: there are none."""
        said = ""
        for piece in run.script.stream:
            said += piece
            self._events.said(run, said, piece)
            if run.script.pause:
                tokens = finals.output_tokens(run.script, text, len(said))
                if tokens is not None:
                    self._events.used(run, tokens)
            await asyncio.sleep(run.script.pause)
        return bool(said)

    def _text(self, run: Run) -> str:
        script = run.script
        if script.stream:
            return "".join(script.stream)
        if script.size:
            return "x" * script.size
        if script.file is not None:
            return self._files.content(run.agent, script.file) or ""
        if script.reply is None:
            return demo.answer(run.agent, run.message)
        return script.reply if isinstance(script.reply, str) else json.dumps(script.reply)


def _failure(run: Run) -> Final | None:
    if run.script.timeout:
        return finals.timed_out(run.run_id)
    if run.script.fail == "empty":
        return finals.empty(run.run_id)
    said = PROVIDER_FAILURES.get(run.script.fail or "")
    return None if said is None else finals.model_failed(run.run_id, said)
