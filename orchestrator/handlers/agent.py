"""The `agent` node: one step of work by an agent over its gateway.

Source: spec "definition", Node types and Outputs; "gateway" §4, Sessions and Idempotency.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Any, ClassVar

from models.errors import ErrorCode, InvalidError
from orchestrator.core.nodetype import Field, FieldKind, NodeType
from orchestrator.core.outcome import Failed, Outcome, StepError
from orchestrator.ports import Dispatch, Earlier, Parts, StepContext

_AGENT = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_TASK_FIELDS = ("title", "description", "priority", "tags")
_NOT_IN_KEYS = re.compile(r"[^a-z0-9._-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    title: str
    description: str
    priority: str | None
    tags: tuple[str, ...]


class AgentHandler:
    """Output {text, output, usage, model}; `output` is the JSON object in the text when it is one."""

    TYPE: ClassVar[NodeType] = NodeType(
        type="agent",
        fields=(
            Field(name="agent", kind=FieldKind.STRING, required=True),
            Field(name="task", kind=FieldKind.OBJECT, keys=_TASK_FIELDS),
            Field(name="session", kind=FieldKind.STRING),
        ),
        slow=True,
        cost_cents=1,
        shape=("([", "])"),
    )

    def __init__(self, parts: Parts) -> None:
        self._gateway = parts.gateway

    def execute(self, ctx: StepContext) -> Outcome:
        """Dispatch the attempt and wait for its end."""
        try:
            agent, task = _agent(ctx), _task(ctx)
        except InvalidError as error:
            return Failed(error=StepError.of(ErrorCode.VALIDATION, str(error)))
        return self._gateway.dispatch(
            Dispatch(
                agent=agent,
                session_key=_session_key(ctx, agent, ctx.attempt),
                idempotency_key=_idempotency_key(ctx, ctx.attempt),
                title=task.title,
                description=task.description,
                input=ctx.input,
                priority=task.priority,
                tags=task.tags,
                deadline=ctx.deadline,
                cancelled=ctx.cancelled,
                earlier=tuple(
                    Earlier(
                        session_key=_session_key(ctx, agent, number),
                        idempotency_key=_idempotency_key(ctx, number),
                    )
                    for number in ctx.lost
                ),
            )
        )

    def stop_data(self, ctx: StepContext) -> dict[str, Any]:
        """What `stop` needs to end this attempt, as JSON. Raises InvalidError for bad fields."""
        return {
            "session_key": _session_key(ctx, _agent(ctx), ctx.attempt),
            "idempotency_key": _idempotency_key(ctx, ctx.attempt),
        }

    def stop(self, data: dict[str, Any]) -> None:
        """End the attempt at its gateway. Raises OrchestratorError when that can't be reached."""
        self._gateway.stop(data["session_key"], data["idempotency_key"])


def _agent(ctx: StepContext) -> str:
    name = ctx.fields["agent"]
    if not isinstance(name, str) or not _AGENT.fullmatch(name.lower()):
        raise InvalidError(f"agent {name!r} is no name: write letters, digits, - and _, 64 at most")
    return name.lower()


def _task(ctx: StepContext) -> _Task:
    given = ctx.fields.get("task") or {}
    unknown = sorted(set(given) - set(_TASK_FIELDS))
    if unknown:
        raise InvalidError(f"task has no field {unknown[0]!r}: it takes {', '.join(_TASK_FIELDS)}")
    tags = given.get("tags") or []
    if not isinstance(tags, list):
        raise InvalidError("task.tags is no list of strings")
    priority = given.get("priority")
    return _Task(
        title=_text("title", given.get("title") or ctx.node_id),
        description=_text("description", given.get("description") or ""),
        priority=None if priority is None else _text("priority", priority),
        tags=tuple(_text("tags", tag) for tag in tags),
    )


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidError(f"task.{name} is no string")
    return str(value)


def _session_key(ctx: StepContext, agent: str, attempt: int) -> str:
    """`agent:<agent>:wf-<run>-…`, in lower case, as gateways make it anyway."""
    run = f"agent:{agent}:wf-{ctx.run_id.lower()}"
    match ctx.fields.get("session") or "attempt":
        case "attempt":
            return f"{run}-{_slug(ctx.path)}-a{attempt}"
        case "run":
            return run
        case name:
            return f"{run}-session-{_slug(str(name))}"


def _slug(text: str) -> str:
    """`text` as a part of a session key; where that changes it, a digest keeps it apart from others."""
    slug = _NOT_IN_KEYS.sub("-", text.lower())
    return slug if slug == text else f"{slug}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _idempotency_key(ctx: StepContext, attempt: int) -> str:
    """One for each attempt, since gateways keep errors under it too; one gateway serves many workspaces."""
    own = ctx.idempotency_key.startswith(ctx.run_id)
    return f"{ctx.idempotency_key if own else f'{ctx.workspace_id}:{ctx.idempotency_key}'}:{attempt}"
