"""What became of a run whose end nobody saw: the gateway's ledger first, then the session's transcript.

Source: spec "gateway" §4, Idempotency and recovery. A gateway that restarted has forgotten its keys, so a
key that is sent again is executed again: the ledger must be asked first.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import ErrorCode
from orchestrator.core.outcome import Outcome
from orchestrator.drivers.openclaw_frames import mapping_of, number_of, objects_of, text_of
from orchestrator.drivers.openclaw_line import Line
from orchestrator.drivers.openclaw_outcome import aborted, answer_of, cost_of, failed, usage_of

_WAIT = 5.0
_RESUME_WITHIN = 15.0
_RESUME_LOOK_EVERY = 0.25
_HISTORY = 200
_EXITED = "process exited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A run at a gateway."""

    agent: str
    session_key: str
    run_id: str


def look_up(line: Line, target: Target) -> Outcome | None:
    """The outcome of a run that may have been accepted, once it has one; None: never accepted.

    Raises as Line.
    """
    while True:
        row = _row(_rows(line, target), target.run_id)
        if row is None:
            return None
        match text_of(row, "status"):
            case "queued" | "running":
                wait_for_end(line, target.run_id, _WAIT)
            case "completed":
                return from_transcript(line, target)
            case "timed_out":
                return failed(ErrorCode.TIMEOUT, "the agent's run took longer than its time limit")
            case "cancelled" if _EXITED in _said(row):
                return _resumed(line, target, row)
            case "cancelled":
                return aborted()
            case _:
                return failed(
                    ErrorCode.LLM_DOWN, f"the agent's run failed: {_said(row) or 'no reason given'}"
                )


def wait_for_end(line: Line, run_id: str, seconds: float) -> bool:
    """Wait for the end of a run, `seconds` at most; True when it ended."""
    seconds = line.remaining(seconds)
    answer = line.ask("agent.wait", {"runId": run_id, "timeoutMs": int(seconds * 1000) + 1}, wait=seconds)
    # A timeout without an end time says "not finished", or "never heard of it".
    ended = answer.status in ("ok", "error") or "endedAt" in answer.payload
    if not answer.ok:
        line.pause(min(1.0, seconds))
    return ended


def from_transcript(line: Line, target: Target) -> Outcome:
    """The answer of a run that completed, as its session remembers it."""
    answer = line.ask("chat.history", {"sessionKey": target.session_key, "limit": _HISTORY})
    for message in reversed(objects_of(answer.payload, "messages")):
        run_id = text_of(mapping_of(message, "__openclaw"), "runId")
        if text_of(message, "role") == "assistant" and run_id == target.run_id:
            usage = mapping_of(message, "usage")
            return answer_of(_text(message), usage_of(target.agent, message, usage, cost_of(usage)))
    # To run it again would do twice what was done, so this is not for a retry by itself.
    return failed(ErrorCode.TOOL_FAILED, "the agent's run completed, but the gateway has lost its answer")


def _resumed(line: Line, target: Target, row: Mapping[str, Any]) -> Outcome:
    """A gateway that crashed takes the turn up again under another run id, seconds after its start."""
    until = time.monotonic() + _RESUME_WITHIN
    while time.monotonic() < until:
        heir = _heir(_rows(line, target), target, row)
        if heir is not None:
            found = look_up(
                line,
                Target(agent=target.agent, session_key=target.session_key, run_id=text_of(heir, "runId")),
            )
            return found or aborted()
        line.pause(_RESUME_LOOK_EVERY)
    return failed(ErrorCode.AGENT_UNAVAILABLE, "the gateway crashed in the middle of the agent's run")


def _heir(rows: list[Mapping[str, Any]], target: Target, row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    ours = target.run_id.partition(":")[0] + ":"  # in a shared session: another attempt of the same run
    for candidate in rows:
        run_id = text_of(candidate, "runId")
        if run_id and not run_id.startswith(ours) and _started(candidate) >= _started(row):
            return candidate
    return None


def _rows(line: Line, target: Target) -> list[Mapping[str, Any]]:
    """The session's runs, the newest first."""
    answer = line.ask("tasks.list", {"sessionKey": target.session_key})
    rows = objects_of(answer.payload, "tasks")
    return sorted(rows, key=_started, reverse=True)


def _row(rows: list[Mapping[str, Any]], run_id: str) -> Mapping[str, Any] | None:
    return next((row for row in rows if text_of(row, "runId") == run_id), None)


def _started(row: Mapping[str, Any]) -> float:
    return number_of(row, "createdAt") or number_of(row, "startedAt") or 0.0


def _said(row: Mapping[str, Any]) -> str:
    return text_of(row, "terminalSummary") or text_of(row, "error")


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(text_of(part, "text") for part in objects_of(message, "content"))
