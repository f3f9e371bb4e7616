"""What became of a run whose end nobody saw: the gateway's ledger first, then the session's transcript.

Source: spec "gateway" §4, Idempotency and recovery. A gateway that restarted has forgotten its keys, so a
key that is sent again is executed again: the ledger must be asked first.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.errors import ErrorCode, UnavailableError
from orchestrator.bridge import Sent
from orchestrator.core.agent_answer import answered
from orchestrator.core.outcome import Again, Failed, Succeeded, Usage
from orchestrator.drivers.openclaw_frames import mapping_of, number_of, objects_of, text_of
from orchestrator.drivers.openclaw_line import Line
from orchestrator.drivers.openclaw_outcome import (
    aborted,
    cost_of,
    failed,
    is_spent,
    never_began,
    summed,
    usage_of,
)

RESUME_WITHIN = 60.0  # seconds after its start, or after the last such turn, in which a gateway takes one up
_RESUME_LOOK_EVERY = 0.25
_WAIT = 5.0
_ONE_CRASH = 5_000  # milliseconds between the rows that a gateway closes when it starts after a crash
_HISTORY = 200
_EXITED = "process exited"
_CUT_AT = 4096
_Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Going:
    """The run has not ended. run_id: that of the live one; None while the gateway may yet take it up.

    behind: it had not begun when the gateway crashed, and is forgotten; it can be sent again once the turn that was
    before it in its session, which is somebody else's, has been taken up and has ended.
    """

    run_id: str | None
    behind: bool = False


def look(line: Line, sent: Sent) -> Succeeded | Failed | Again | Going:
    """What became of a run, without waiting for it; Again: it was never begun.

    Raises as Line, and UnavailableError where the gateway does not show its ledger.
    """
    rows = _rows(line, sent)
    own, row = sent, _row(rows, sent.key)
    while row is not None:
        run_id = text_of(row, "runId")
        match text_of(row, "status"):
            case "queued" | "running":
                return Going(run_id=run_id)
            case "completed":
                return _transcript(line, sent, run_id)
            case "timed_out":
                return failed(ErrorCode.TIMEOUT, "the agent's run took longer than its time limit")
            case "cancelled" if _EXITED in _said(row):
                ahead = _ahead(rows, row) if run_id == own.key else None
                next_ = _heir(rows, sent, row) if ahead is None else _row(rows, renewed(own).key)
                if next_ is None:
                    return _without_heir(line, sent, row) if ahead is None else _when_free(line, sent, rows, ahead)
                own, row = own if ahead is None else renewed(own), next_
            case "cancelled":
                return aborted()
            case "failed" if never_began(_said(row)) or is_spent(_said(row)):
                own = renewed(own)
                row = _row(rows, own.key)
            case _:
                said = _said(row) or "no reason given"
                return failed(ErrorCode.LLM_DOWN, f"the agent's run failed: {said}")
    return Again()


def renewed(sent: Sent) -> Sent:
    """The same attempt under the key that follows when a gateway takes its key no more; always the same one."""
    return replace(sent, key=f"{sent.key}~")


def follow(line: Line, sent: Sent, going: Callable[[Going], None]) -> Succeeded | Failed | Again:
    """As `look`, but waits for the end, and tells each time what it waits for."""
    while True:
        found = look(line, sent)
        if not isinstance(found, Going):
            return found
        going(found)
        line.term.begin()
        if found.run_id is None:
            line.term.pause(_RESUME_LOOK_EVERY)
        else:
            wait_for_end(line, found.run_id, _WAIT)


def wait_for_end(line: Line, run_id: str, seconds: float) -> bool:
    """Wait for the end of a run, `seconds` at most; True when it ended."""
    seconds = line.term.remaining(seconds)
    answer = line.ask("agent.wait", {"runId": run_id, "timeoutMs": int(seconds * 1000) + 1}, wait=seconds)
    # A timeout without an end time says "not finished", or "never heard of it".
    ended = answer.status in ("ok", "error") or "endedAt" in answer.payload
    if not ended:
        line.term.pause(min(0.05 if answer.ok else 1.0, seconds))
    return ended


def live_heir(line: Line, sent: Sent) -> Going | None:
    """The run that took up a crashed one and goes on, or may yet begin; None where there is none, or none of ours."""
    found = look(line, sent)
    return found if isinstance(found, Going) and not found.behind else None


def from_transcript(line: Line, sent: Sent) -> Succeeded | Failed:
    """The answer of a run that completed, as its session remembers it."""
    return _transcript(line, sent, sent.key)


def _transcript(line: Line, sent: Sent, run_id: str) -> Succeeded | Failed:
    answer = line.ask("chat.history", {"sessionKey": sent.session_key, "limit": _HISTORY})
    said = [
        message
        for message in objects_of(answer.payload, "messages")
        if text_of(message, "role") == "assistant"
        and text_of(mapping_of(message, "__openclaw"), "runId") == run_id
    ]
    if not said:
        return _last_reply(line, sent, run_id)
    # One message for each call to the model, all of them paid for; the last one is the answer.
    usages = [
        usage_of(sent.agent, message, usage, cost_of(usage))
        for message in said
        for usage in (mapping_of(message, "usage"),)
    ]
    return answered(_text(said[-1]), summed(usages))


def _last_reply(line: Line, sent: Sent, run_id: str) -> Succeeded | Failed:
    """What the gateway still has in memory, when it is whole; its usage is unknown."""
    answer = line.ask("agent.wait", {"runId": run_id, "timeoutMs": 1})
    text = text_of(mapping_of(answer.payload, "terminalReply"), "text")
    if answer.status == "ok" and 0 < len(text) < _CUT_AT:
        return answered(text, Usage(agent=sent.agent))
    # To run it again would do twice what was done, so this is not for a retry by itself.
    return failed(ErrorCode.TOOL_FAILED, "the agent's run completed, but the gateway has lost its answer")


def _without_heir(line: Line, sent: Sent, row: _Row) -> Failed | Again | Going:
    """A gateway that crashed takes turns up again under other run ids, one session after the other; or it does not."""
    if _may_be_taken_up(line, sent, row):
        return Going(run_id=None)
    if number_of(row, "startedAt") is None:
        return Again()  # it was queued, and is forgotten
    return failed(ErrorCode.AGENT_UNAVAILABLE, "the gateway crashed in the middle of the agent's run")


def _when_free(line: Line, sent: Sent, rows: Sequence[_Row], ahead: _Row) -> Again | Going:
    """A run that is forgotten is sent again when its session has no turn at work: before, it would end that one."""
    row = ahead
    while _EXITED in _said(row):
        heir = _heir(rows, sent, row)
        if heir is None:
            return Going(run_id=None, behind=True) if _may_be_taken_up(line, sent, row) else Again()
        row = heir
    return Going(run_id=None, behind=True) if text_of(row, "status") in ("queued", "running") else Again()


def _may_be_taken_up(line: Line, sent: Sent, row: _Row) -> bool:
    """Whether a crashed turn without an heir may have one yet: the session says so while it waits for its turn."""
    if line.connection.uptime < RESUME_WITHIN:
        return True
    answer = line.ask("sessions.describe", {"key": sent.session_key})
    session = mapping_of(answer.payload, "session")
    if session.get("abortedLastRun") is True and text_of(session, "status") == "running":
        return True
    return _heir(_rows(line, sent), sent, row) is not None  # it came while this looked


def _heir(rows: Sequence[_Row], sent: Sent, row: _Row) -> _Row | None:
    """The oldest run that began after a crashed one, under an id that none of us gave."""
    ours = sent.key.partition(":")[0] + ":"  # in a shared session: another attempt of the same run
    for candidate in reversed(rows[: _place(rows, row)]):
        run_id = text_of(candidate, "runId")
        if run_id and not run_id.startswith(ours):
            return candidate
    return None


def _ahead(rows: Sequence[_Row], row: _Row) -> _Row | None:
    """The run that was at work in the session when the same crash cut it: a session has one, the oldest."""
    crash = number_of(row, "endedAt") or 0.0
    for other in reversed(rows[_place(rows, row) + 1 :]):
        same = _EXITED in _said(other) and abs((number_of(other, "endedAt") or 0.0) - crash) < _ONE_CRASH
        if same and text_of(other, "runId") != text_of(row, "runId"):
            return other
    return None


def _place(rows: Sequence[_Row], row: _Row) -> int:
    run_id = text_of(row, "runId")
    return next((number for number, other in enumerate(rows) if text_of(other, "runId") == run_id), 0)


def _rows(line: Line, sent: Sent) -> list[_Row]:
    """The session's runs, the newest first."""
    answer = line.ask("tasks.list", {"sessionKey": sent.session_key})
    if not answer.ok or not isinstance(answer.payload.get("tasks"), list):
        said = answer.fault.message if answer.fault else "no list of tasks"
        raise UnavailableError(f"the gateway does not show what became of {sent.key}: {said}")
    return sorted(objects_of(answer.payload, "tasks"), key=_began, reverse=True)


def _row(rows: Sequence[_Row], run_id: str) -> _Row | None:
    return next((row for row in rows if text_of(row, "runId") == run_id), None)


def _began(row: _Row) -> float:
    return number_of(row, "createdAt") or number_of(row, "startedAt") or 0.0


def _said(row: _Row) -> str:
    return text_of(row, "terminalSummary") or text_of(row, "error")


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(text_of(part, "text") for part in objects_of(message, "content"))
