"""`tasks.execute`, at gateways that list it: one request, one answer, nothing to look up afterwards.

Source: spec "gateway", How it maps on us.
"""

import json
from typing import Any

from models.errors import ErrorCode
from orchestrator.bridge import Dispatch
from orchestrator.core.agent_answer import answered
from orchestrator.core.outcome import Failed, Succeeded, Usage
from orchestrator.drivers.openclaw_frames import Response, mapping_of, number_of, text_of
from orchestrator.drivers.openclaw_handshake import Hello
from orchestrator.drivers.openclaw_outcome import failed, outcome

METHOD = "tasks.execute"


def executes_tasks(hello: Hello) -> bool:
    """Whether a gateway has the method."""
    return METHOD in hello.methods


def task_params(request: Dispatch) -> dict[str, Any]:
    """{agentKey, sessionKey, taskInput: {title, description, context, priority?, tags?}}."""
    task = request.task
    told: dict[str, Any] = {
        # Our own words first: a text that begins with / is a command to the session.
        "title": "Task: " + task.title.strip(),
        "description": task.description.strip(),
        "context": request.input,
    }
    if task.priority:
        told["priority"] = task.priority
    if task.tags:
        told["tags"] = list(task.tags)
    return {"agentKey": request.sent.agent, "sessionKey": request.sent.session_key, "taskInput": told}


def task_outcome(agent: str, answer: Response) -> Succeeded | Failed:
    """Read {ok, result: {output, tokensUsed: {input, output}, model, durationMs}}, or what is none."""
    if not answer.ok:
        return outcome(agent, answer)
    if answer.payload.get("ok") is not True:
        said = text_of(mapping_of(answer.payload, "error"), "message") or "no reason given"
        return failed(ErrorCode.TOOL_FAILED, f"the agent failed: {said}")
    result = mapping_of(answer.payload, "result")
    output = result.get("output")
    if output is None:
        return failed(ErrorCode.VALIDATION, "the gateway answered tasks.execute with no output")
    used = mapping_of(result, "tokensUsed")
    usage = Usage(
        agent=agent,
        model=text_of(result, "model") or None,
        tokens_in=_count(number_of(used, "input")),
        tokens_out=_count(number_of(used, "output")),
    )
    if isinstance(output, str):
        return answered(output, usage)
    return answered(json.dumps(output, ensure_ascii=False), usage, output)


def _count(tokens: float | None) -> int | None:
    return None if tokens is None else int(tokens)
