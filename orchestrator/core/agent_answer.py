"""An agent's answer as a step's outcome, whichever way it came: over a socket, by callback, from one that pulls.

Source: spec "definition", Outputs of `agent`.
"""

import json
from collections.abc import Mapping
from typing import Any

from models.errors import ErrorCode, InvalidError
from orchestrator.core.outcome import Failed, StepError, Succeeded, Usage

_FENCE = "```"


def answered(text: str, usage: Usage, output: Any = None) -> Succeeded:
    """The output {text, output, usage, model}; `output` is what was given, else the JSON object in the text."""
    return Succeeded(
        output={
            "text": text,
            "output": json_object(text) if output is None else output,
            "usage": {
                "tokens_in": usage.tokens_in,
                "tokens_out": usage.tokens_out,
                "cost_microcents": usage.cost_microcents,
            },
            "model": usage.model,
        },
        usage=usage,
    )


def read(agent: str | None, body: Mapping[str, Any]) -> Succeeded | Failed:
    """The outcome in a body that an agent sent.

    {text?, output?, usage?: {input?, output?, cached_input?, cost_microcents?}, model?}, or {error: {message, code?,
    transient?, details?}} with the same usage and model. Members that are no object, string or count of tokens
    have been refused before. Raises InvalidError for an error code that there is not, and for a body of nothing.
    """
    given = body.get("usage") or {}
    usage = Usage(
        agent=agent,
        model=body.get("model"),
        tokens_in=given.get("input"),
        tokens_out=given.get("output"),
        cached_in=given.get("cached_input"),
        cost_microcents=given.get("cost_microcents"),
    )
    error = body.get("error")
    if error is not None:
        return Failed(error=_error(error), usage=usage)
    if body.get("text") is None and body.get("output") is None:
        raise InvalidError("the answer holds nothing: send text, output or error")
    output = body.get("output")
    text = body.get("text")
    return answered("" if text is None else text, usage, output)


def _error(given: Mapping[str, Any]) -> StepError:
    code = given.get("code") or ErrorCode.TOOL_FAILED.value
    if code not in ErrorCode.__members__:
        known = ", ".join(ErrorCode.__members__)
        raise InvalidError(f"error.code {code!r} is no class of errors; it is one of {known}")
    message = given.get("message") or "the agent gave no reason"
    return StepError.of(
        ErrorCode(code), message, details=given.get("details"), transient=given.get("transient")
    )


def json_object(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is, or that its first fenced block with one holds; else None."""
    for candidate in (text, *_fenced(text)):
        found = _parse(candidate.strip())
        if found is not None:
            return found
    return None


def _fenced(text: str) -> list[str]:
    blocks = text.split(_FENCE)[1::2]
    return [block.partition("\n")[2] if not block.lstrip().startswith("{") else block for block in blocks]


def _parse(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        found = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
