"""The last frames of a run, in the shapes of the real gateway. Source: spec "gateway" §4, the table of outcomes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.gateway.script import Script

_INPUT_PRICE = 3e-6
_OUTPUT_PRICE = 15e-6
_PROVIDER = "local"
_MODEL = "scripted-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """How a run ended: the response frame's parts, and what the ledger and agent.wait keep of it."""

    ledger: str
    ok: bool = True
    payload: Mapping[str, Any]
    error: Mapping[str, Any] | None = None
    text: str | None = None
    meta: Mapping[str, Any] | None = None

    @property
    def output_tokens(self) -> int | None:
        """None: unknown."""
        usage = (self.meta or {}).get("usage")
        return None if usage is None else usage["output"]

    @property
    def summary(self) -> str:
        return str(self.error["message"] if self.error else self.payload["summary"])

    def waited(self) -> dict[str, Any]:
        """What agent.wait says of it: no usage, and the text cut at 4,096 characters."""
        status = str(self.payload["status"])
        reason = self.payload.get("stopReason")
        found: dict[str, Any] = {"runId": self.payload["runId"], "status": "error" if reason else status}
        if reason:
            found["stopReason"] = reason
        if not reason and status != "ok":
            found["error"] = self.summary
        if self.text is not None:
            disposition = "visible" if self.text else "empty"
            found["terminalReply"] = {"disposition": disposition, "text": self.text[:4096]}
        return found


def succeeded(
    run_id: str, session_id: str, message: str, text: str, script: Script, duration_ms: int
) -> Final:
    """An answer with its usage. An empty one, or the word NO_REPLY, is no answer."""
    if text in ("", "NO_REPLY"):
        return empty(run_id)
    model = model_of(script)
    usage = _usage(message, text, script)
    agent_meta: dict[str, Any] = model | {"sessionId": session_id}
    if usage is not None:
        agent_meta |= {"usage": usage, "costUsd": usage["cost"]["total"]}
    meta = {
        "durationMs": duration_ms,
        "agentMeta": agent_meta,
        "finalAssistantVisibleText": text,
        "completion": {"finishReason": "stop"},
    }
    return Final(
        ledger="completed",
        payload={
            "runId": run_id,
            "status": "ok",
            "summary": "completed",
            "result": {"payloads": [{"text": text, "mediaUrl": None}], "meta": meta},
        },
        text=text,
        meta=model | ({} if usage is None else {"usage": usage}),
    )


def model_failed(run_id: str, message: str) -> Final:
    """The model's provider failed: not ok, with payload and error both."""
    return Final(
        ledger="failed",
        ok=False,
        payload={"runId": run_id, "status": "error", "summary": message},
        error={"code": "UNAVAILABLE", "message": message},
    )


def draining(run_id: str) -> Final:
    """The gateway ends, and the run had not begun."""
    return model_failed(run_id, "Gateway is draining; new tasks are not accepted")


def empty(run_id: str) -> Final:
    """The model said nothing: ok, and yet an error."""
    return Final(
        ledger="failed",
        payload=_ended(run_id, "error", "failed", "The agent returned no reply."),
    )


def timed_out(run_id: str) -> Final:
    """The run's time was over; its text is an apology, no output."""
    payload = _ended(run_id, "timeout", "aborted", "Request timed out before a response was generated.")
    return Final(
        ledger="timed_out",
        payload=payload | {"timeoutPhase": "provider", "providerStarted": True},
    )


def aborted(run_id: str) -> Final:
    """Somebody ended it."""
    return Final(
        ledger="cancelled",
        payload={"runId": run_id, "status": "timeout", "summary": "aborted", "stopReason": "rpc"},
    )


def _ended(run_id: str, status: str, summary: str, text: str) -> dict[str, Any]:
    return {
        "runId": run_id,
        "status": status,
        "summary": summary,
        "result": {"payloads": [{"text": text, "mediaUrl": None, "isError": True}], "meta": {}},
    }


def model_of(script: Script) -> dict[str, str]:
    """Provider and model; a scripted "openai/gpt-4o" names both."""
    named = script.model or _MODEL
    provider, model = named.split("/", 1) if "/" in named else (_PROVIDER, named)
    return {"provider": provider, "model": model}


def name_of(meta: Mapping[str, Any]) -> str:
    """A model in one word, as it was scripted."""
    return str(meta["model"] if meta["provider"] == _PROVIDER else f"{meta['provider']}/{meta['model']}")


def output_tokens(script: Script, text: str, said: int) -> int | None:
    """The tokens of the first `said` characters of an answer; None: unknown."""
    usage = _usage("", text, script)
    return None if usage is None else int(usage["output"] * said // max(1, len(text)))


def _usage(message: str, text: str, script: Script) -> dict[str, Any] | None:
    given = script.usage
    if given is None:
        return None
    if given is ...:
        given = {"input": len(message) // 4 + 1, "output": len(text) // 4 + 1}
    tokens_in, tokens_out = given.get("input", 0), given.get("output", 0)
    cost = given.get("cost", round(tokens_in * _INPUT_PRICE + tokens_out * _OUTPUT_PRICE, 9))
    return {
        "input": tokens_in,
        "output": tokens_out,
        "cacheRead": 0,
        "cacheWrite": 0,
        "total": tokens_in + tokens_out,
        "cost": {"total": cost},
    }
