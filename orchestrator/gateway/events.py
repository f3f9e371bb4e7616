"""What those who listen hear of a run, in the real gateway's order. Source: spec "gateway" §4, Events for a run.

A plain turn: task, lifecycle start, lifecycle model, (assistant, chat delta)*, usage, lifecycle finishing, lifecycle
model null, lifecycle end, chat final, task. After an abort comes a second lifecycle error, whose seq begins at 1 again.
"""

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.gateway.database import now_ms
from orchestrator.gateway.finals import Final
from orchestrator.gateway.ledger import Ledger
from orchestrator.gateway.run import Run

# An answer that is longer is told by the last response alone.
_LONGEST = 65_536

Announce = Callable[[str, str, Mapping[str, Any]], None]


class Events:
    """Tells of runs. announce(event, session key, payload) brings it to those who listen."""

    def __init__(self, ledger: Ledger, announce: Announce) -> None:
        self._ledger = ledger
        self._announce = announce

    def started(self, run: Run, model: Mapping[str, Any]) -> None:
        self._task(run)
        self._agent(run, "lifecycle", {"phase": "start", "startedAt": run.started_at})
        self._agent(run, "lifecycle", {"phase": "model", **model})

    def said(self, run: Run, text: str, delta: str) -> None:
        """The text so far and what was added to it."""
        if len(text) > _LONGEST:
            return
        self._agent(run, "assistant", {"text": text, "delta": delta, "itemId": f"{run.run_id}:0"})
        self._chat(run, "delta", deltaText=delta, message=_message(text))

    def used(self, run: Run, output_tokens: int) -> None:
        """The tokens so far, of the whole run."""
        self._agent(run, "usage", {"outputTokens": output_tokens})

    def ended(self, run: Run, final: Final) -> None:
        """The last words, as the run ended."""
        if final.text is not None:
            self._completed(run, final.text)
        elif final.payload["status"] == "timeout":
            self._cut_short(run)
        else:
            self._agent(run, "lifecycle", {"phase": "error", "error": final.summary})
            self._chat(run, "error", errorMessage=final.summary)
        self._task(run)
        if final.payload.get("stopReason"):
            run.seq = 0
            self._agent(run, "lifecycle", {"phase": "error", "error": "aborted", "aborted": True})

    def _completed(self, run: Run, text: str) -> None:
        self._agent(run, "lifecycle", {"phase": "finishing"})
        self._agent(run, "lifecycle", {"phase": "model", "model": None})
        self._agent(run, "lifecycle", {"phase": "end", "endedAt": run.ended_at})
        told = {"message": _message(text)} if len(text) <= _LONGEST else {}
        self._chat(run, "final", **told)

    def _cut_short(self, run: Run) -> None:
        self._agent(run, "lifecycle", {"phase": "end", "endedAt": run.ended_at, "aborted": True})
        self._chat(run, "aborted")

    def _agent(self, run: Run, stream: str, data: Mapping[str, Any]) -> None:
        run.seq += 1
        self._announce(
            "agent", run.session_key, _whose(run) | {"stream": stream, "ts": now_ms(), "data": data}
        )

    def _chat(self, run: Run, state: str, **more: Any) -> None:
        self._announce("chat", run.session_key, _whose(run) | {"state": state, **more})

    def _task(self, run: Run) -> None:
        payload = {"action": "upserted", "task": self._ledger.of_run(run.run_id)}
        self._announce("task", run.session_key, payload)


def _whose(run: Run) -> dict[str, Any]:
    return {
        "runId": run.run_id,
        "sessionKey": run.session_key,
        "sessionId": run.session_id,
        "agentId": run.agent,
        "seq": run.seq,
    }


def _message(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}], "timestamp": now_ms()}
