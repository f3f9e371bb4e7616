"""What an agent is told.

Source: spec "gateway", introduction and §5: the prompt begins with our own words, since one that begins with
`/new` or `/reset` is a command to the session. Its last line is the step's input as JSON.
"""

import json

from orchestrator.bridge import Dispatch


def prompt(request: Dispatch) -> str:
    """The message for one attempt."""
    task = request.task
    parts = ["Task:\n" + task.title.strip()]
    if task.description.strip():
        parts.append(task.description.strip())
    if task.priority:
        parts.append(f"Priority: {task.priority}")
    if task.tags:
        parts.append("Tags: " + ", ".join(task.tags))
    parts.append("Input:\n" + json.dumps(request.input, ensure_ascii=False, separators=(",", ":")))
    return "\n\n".join(parts)
