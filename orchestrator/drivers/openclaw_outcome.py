"""A gateway's last word on a run, as an outcome of the step: the error classes, text, usage and cost.

Source: spec "gateway" §4, the table of final frames; "engine", Errors have a class.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from models.errors import ErrorCode
from orchestrator.core.agent_answer import answered
from orchestrator.core.outcome import Failed, StepError, Succeeded, Usage
from orchestrator.drivers.openclaw_frames import (
    Fault,
    Response,
    mapping_of,
    number_of,
    objects_of,
    text_of,
)

_MICROCENTS_PER_DOLLAR = 100_000_000
_ABORTED = ("rpc", "stop")
_RESTARTING = ("startup-sidecars", "gateway-restarting", "gateway-draining")
_PUT_OFF = "new tasks are not accepted"
_SPENT = "Pending input ownership ended"
_NO_CREDIT = re.compile(
    r"\b402\b|insufficient (?:credit|quota|fund|balance)|credit balance|quota exceeded", re.I
)


def outcome(agent: str, answer: Response) -> Succeeded | Failed:
    """Read a final frame. Success only where `ok` and status "ok"; one that makes no sense is VALIDATION."""
    if not answer.ok:
        return failed(*_fault_class(answer.fault or Fault()), details=_details(answer.fault))
    match answer.status:
        case "ok":
            return _succeeded(agent, mapping_of(answer.payload, "result"))
        case "error":
            return failed(ErrorCode.TOOL_FAILED, "the agent gave no answer" + _said(answer))
        case "timeout" if text_of(answer.payload, "stopReason") in _ABORTED:
            return aborted()
        case "timeout":
            return failed(ErrorCode.TIMEOUT, "the agent's run took longer than its time limit")
    return failed(
        ErrorCode.VALIDATION,
        f"the gateway answered with a frame that is no result (status {answer.status[:40]!r})",
    )


def is_unavailable(fault: Fault | None) -> bool:
    """True for a gateway that starts, drains or restarts: nothing was done, later it will be."""
    return fault is not None and (
        fault.reason in _RESTARTING
        or (fault.code == "UNAVAILABLE" and (fault.retryable or "draining" in fault.message))
    )


def never_began(said: str) -> bool:
    """True for the end of a run that was accepted and then put off, since the gateway goes down."""
    return _PUT_OFF in said


def is_spent(said: str) -> bool:
    """True where a gateway that crashed had queued a run under this key: it begins none under it any more."""
    return _SPENT in said


def failed(code: ErrorCode, message: str, *, details: Any = None, transient: bool | None = None) -> Failed:
    """A failure of a class, its message kept to a size that a log line takes."""
    return Failed(error=StepError.of(code, message[:2000], details=details, transient=transient))


def aborted() -> Failed:
    """The run was ended at the gateway by somebody else than this attempt."""
    return failed(ErrorCode.CANCELLED, "the agent's run was aborted at the gateway")


def usage_of(agent: str, model: Mapping[str, Any], usage: Mapping[str, Any], dollars: float | None) -> Usage:
    """Tokens and cost; what the gateway does not say stays unknown. `model` holds provider and model."""
    tokens_in = [number_of(usage, key) for key in ("input", "cacheRead", "cacheWrite")]
    counted = [tokens for tokens in tokens_in if tokens is not None]
    out = number_of(usage, "output")
    total = sum(counted) + (out or 0)
    if total == 0:  # no call to a model costs nothing: its provider did not say
        counted, out, tokens_in = [], None, [None, None, None]
    # A model that the gateway has no price for costs 0 there, with tokens that somebody pays.
    unknown = dollars is None or dollars == 0
    names = [text_of(model, "provider"), text_of(model, "model")]
    return Usage(
        agent=agent,
        model="/".join(name for name in names if name) or None,
        tokens_in=int(sum(counted)) if counted else None,
        tokens_out=None if out is None else int(out),
        cached_in=None if tokens_in[1] is None else int(tokens_in[1]),
        cost_microcents=None if unknown else round(Decimal(str(dollars)) * _MICROCENTS_PER_DOLLAR),
    )


def summed(usages: Sequence[Usage]) -> Usage:
    """What the calls of a run used together; unknown where one of them is. `model` is the last one's."""

    def total(values: Sequence[int | None]) -> int | None:
        known = [value for value in values if value is not None]
        return sum(known) if known and len(known) == len(values) else None

    last = usages[-1]
    return Usage(
        agent=last.agent,
        model=last.model,
        tokens_in=total([usage.tokens_in for usage in usages]),
        tokens_out=total([usage.tokens_out for usage in usages]),
        cached_in=total([usage.cached_in for usage in usages]),
        cost_microcents=total([usage.cost_microcents for usage in usages]),
    )


def cost_of(usage: Mapping[str, Any]) -> float | None:
    """`usage.cost.total` in dollars, at most a million."""
    dollars = number_of(mapping_of(usage, "cost"), "total")
    return None if dollars is None or dollars > 1_000_000 else dollars


def _succeeded(agent: str, result: Mapping[str, Any]) -> Succeeded | Failed:
    payloads = result.get("payloads")
    if not isinstance(payloads, list):
        return failed(ErrorCode.VALIDATION, "the gateway answered ok with no result in it")
    texts = [
        text_of(entry, "text") for entry in objects_of(result, "payloads") if entry.get("isError") is not True
    ]
    meta = mapping_of(mapping_of(result, "meta"), "agentMeta")
    usage = mapping_of(meta, "usage")
    dollars = cost_of(usage)
    if dollars is None:
        dollars = cost_of({"cost": {"total": meta.get("costUsd")}})
    text = "\n".join(part for part in texts if part)
    return answered(text, usage_of(agent, meta, usage, dollars))


def _fault_class(fault: Fault) -> tuple[ErrorCode, str]:
    said = fault.message or "no reason given"
    if is_unavailable(fault):
        return ErrorCode.AGENT_UNAVAILABLE, f"the gateway is going down: {said}"
    match fault.code:
        case "UNAVAILABLE" if _NO_CREDIT.search(said):
            return ErrorCode.CREDIT_EXHAUSTED, f"the model's provider wants payment: {said}"
        case "UNAVAILABLE":
            return ErrorCode.LLM_DOWN, f"the model failed: {said}"
        case "INVALID_REQUEST" if "unknown agent" in said:
            return ErrorCode.AGENT_UNAVAILABLE, f"the gateway knows no such agent: {said}"
        case "INVALID_REQUEST":
            return ErrorCode.VALIDATION, f"the gateway refuses the request: {said}"
        case "FORBIDDEN" | "NOT_PAIRED":
            return ErrorCode.POLICY_DENIED, f"the gateway forbids it: {said}"
        case "":
            return ErrorCode.VALIDATION, "the gateway answered with a frame that is neither result nor error"
    return ErrorCode.TOOL_FAILED, f"the gateway failed: {fault.code}: {said}"


def _details(fault: Fault | None) -> dict[str, Any] | None:
    return None if fault is None else {"gateway_code": fault.code[:100], "reason": fault.reason[:100] or None}


def _said(answer: Response) -> str:
    payloads = objects_of(mapping_of(answer.payload, "result"), "payloads")
    said = " ".join(text_of(entry, "text") for entry in payloads).strip()
    return f": {said}" if said else ""
