"""What an agent is told, and what is read out of its answer.

Source: spec "gateway", introduction and §5: the prompt begins with our own words, since one that begins with
`/new` or `/reset` is a command to the session. Its last line is the step's input as JSON.
"""

import json
from typing import Any

from orchestrator.ports import Dispatch

_FENCE = "```"


def prompt(request: Dispatch) -> str:
    """The message for one attempt."""
    parts = ["Task:\n" + request.title.strip()]
    if request.description.strip():
        parts.append(request.description.strip())
    if request.priority:
        parts.append(f"Priority: {request.priority}")
    if request.tags:
        parts.append("Tags: " + ", ".join(request.tags))
    parts.append("Input:\n" + json.dumps(request.input, ensure_ascii=False, separators=(",", ":")))
    return "\n\n".join(parts)


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
