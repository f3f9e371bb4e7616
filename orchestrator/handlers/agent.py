"""The `agent` node: one step of work by an agent, by name or by what it can do.

Source: spec "definition", Node types and Outputs; "gateway" §4, Sessions.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from models.errors import ErrorCode, InvalidError
from orchestrator.core.nodetype import Field, FieldKind, NodeType
from orchestrator.core.outcome import Again, Failed, Outcome, StepError, Succeeded
from orchestrator.core.routing import Wanted
from orchestrator.ports import Parked, Parts, StepContext, Task

_TASK_FIELDS = ("title", "description", "priority", "tags")
_LONGEST = 255


def _mistakes(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "agent" in fields:
        for name in ("role", "capabilities"):
            if name in fields:
                yield f"/{name}", f"agent names the agent already; leave out agent, or {name}"


class AgentHandler:
    """Output {text, output, usage, model}; `output` is the JSON object in the text when it is one."""

    TYPE: ClassVar[NodeType] = NodeType(
        type="agent",
        fields=(
            Field(name="agent", kind=FieldKind.STRING),
            Field(name="role", kind=FieldKind.STRING),
            Field(name="capabilities", kind=FieldKind.LIST),
            Field(name="task", kind=FieldKind.OBJECT, keys=_TASK_FIELDS),
            Field(name="session", kind=FieldKind.STRING),
        ),
        one_of=(("agent", "role", "capabilities"),),
        slow=True,
        cost_cents=1,
        shape=("([", "])"),
        mistakes=_mistakes,
    )

    def __init__(self, parts: Parts) -> None:
        self._agents = parts.agents

    def execute(self, ctx: StepContext) -> Outcome:
        """Have the attempt done; it parks where that takes long."""
        try:
            wanted, task, session = _wanted(ctx.fields), task_of(ctx), _session(ctx.fields)
        except InvalidError as error:
            return Failed(error=StepError.of(ErrorCode.VALIDATION, str(error)))
        return self._agents.dispatch(ctx, wanted, task, session)

    def answer(self, parked: Parked) -> Succeeded | Failed | Again | None:
        """What became of an attempt that waits. Raises UnavailableError when the gateway does not say."""
        return self._agents.answer(parked)

    def stop_data(self, ctx: StepContext) -> dict[str, Any]:
        """What `stop` needs to end this attempt."""
        return {"run_id": ctx.run_id, "no": ctx.no, "attempt": ctx.attempt}

    def stop(self, data: dict[str, Any]) -> None:
        """End the attempt where it was sent. Raises OrchestratorError when that can't be reached."""
        self._agents.stop(data["run_id"], data["no"], data["attempt"])


def _wanted(fields: Mapping[str, Any]) -> Wanted:
    capabilities = fields.get("capabilities") or []
    if not isinstance(capabilities, list):
        raise InvalidError("capabilities is no list of names")
    agent, role = fields.get("agent"), fields.get("role")
    return Wanted(
        agent=None if agent is None else _name("agent", agent).lower(),
        role=None if role is None else _name("role", role),
        capabilities=tuple(sorted({_name("capabilities", capability) for capability in capabilities})),
    )


def _session(fields: Mapping[str, Any]) -> str:
    return _name("session", fields.get("session") or "attempt")


def _name(field: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST:
        raise InvalidError(f"{field} {value!r} is no name: write 1 to {_LONGEST} characters")
    return value


def task_of(ctx: StepContext) -> Task:
    """What a step tells its agent. Raises InvalidError."""
    given = ctx.fields.get("task") or {}
    unknown = sorted(set(given) - set(_TASK_FIELDS))
    if unknown:
        raise InvalidError(f"task has no field {unknown[0]!r}: it takes {', '.join(_TASK_FIELDS)}")
    tags = given.get("tags") or []
    if not isinstance(tags, list):
        raise InvalidError("task.tags is no list of strings")
    priority = given.get("priority")
    return Task(
        title=_text("title", given.get("title") or ctx.node_id),
        description=_text("description", given.get("description") or ""),
        priority=None if priority is None else _text("priority", priority),
        tags=tuple(_text("tags", tag) for tag in tags),
    )


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidError(f"task.{name} is no string")
    return str(value)
