"""The body of an HTTP agent's answer, checked member by member, as an outcome. Source: docs/agents.md."""

import json
from collections.abc import Mapping
from typing import Any

from models.errors import ErrorCode, InvalidError
from orchestrator.core import agent_answer, redact
from orchestrator.core.outcome import Failed, StepError, Succeeded
from orchestrator.ports import HttpResponse

_COUNTS = ("input", "output", "cached_input", "cost_microcents")
_MOST = 1 << 53
_SHOWN = 300


def answer_in(agent: str, response: HttpResponse) -> Succeeded | Failed:
    """The outcome in a body of status 200; VALIDATION where it is none, OUTPUT_TOO_LARGE where it was cut."""
    if response.cut:
        return failed(
            ErrorCode.OUTPUT_TOO_LARGE,
            f"the agent's answer is longer than {len(response.body)} bytes (ORCHESTRATOR_MAX_BODY_BYTES)",
        )
    try:
        return agent_answer.read(agent, _checked(response.body))
    except InvalidError as error:
        return failed(ErrorCode.VALIDATION, f"the agent's answer can't be read: {error}")


def said_in(response: HttpResponse, token: str | None) -> str:
    """The beginning of a body that goes with a refusal; `token` is masked before it can be cut in two."""
    text = response.body.decode("utf-8", "replace").strip()
    shown: str = redact.redact(text, [token] if token else [])[:_SHOWN]
    return f": {shown}" if shown else ""


def failed(code: ErrorCode, message: str, *, details: Any = None, transient: bool | None = None) -> Failed:
    """A failure of a class, its message kept to a size that a log line takes."""
    return Failed(error=StepError.of(code, message[:2000], details=details, transient=transient))


def _checked(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidError("it is no JSON") from error
    if not isinstance(found, dict):
        raise InvalidError("it is no JSON object")
    _check(found, "", {"text": str, "usage": dict, "model": str, "error": dict})
    usage = found.get("usage") or {}
    for name in _COUNTS:
        _check_count(f"usage.{name}", usage.get(name))
    _check(found.get("error") or {}, "error.", {"message": str, "code": str, "transient": bool})
    return found


def _check(source: Mapping[str, Any], where: str, types: Mapping[str, type]) -> None:
    for name, type_ in types.items():
        value = source.get(name)
        if value is not None and not isinstance(value, type_):
            raise InvalidError(f"{where}{name} is {type(value).__name__}, not {type_.__name__}")


def _check_count(name: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise InvalidError(f"{name} is no whole number from 0 on")


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
