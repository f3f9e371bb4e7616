"""The `celery` node: a task of another application, done by its own workers, which import nothing of ours.

The step parks; the task's end wakes it, and its answer is read from the result backend.
Source: spec "engine", Foreign Celery tasks, Idempotency keys; "definition", Node types and Outputs.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import structlog

from models.errors import ErrorCode, InvalidError, UnavailableError
from orchestrator.core.nodetype import Field, FieldKind, NodeType
from orchestrator.core.outcome import Cancelled, Failed, Outcome, StepError, Succeeded, Waiting
from orchestrator.ports import ForeignCall, ForeignError, ForeignValue, Parked, Parts, StepContext

_log = structlog.get_logger(__name__)
OWN_QUEUES = ("control", "steps", "webhooks", "sweeps")
OWN_TASKS = "orchestrator."
_DEFAULT_QUEUE = "celery"  # where a plain Celery application listens
_TIMEOUT = 600.0
_FIRST_LOOK = 0.1
# What Celery stores in the place of a result when its worker could not send the wake that we link to the task.
_UNTOLD = ("kombu.exceptions", "OperationalError")
_LONGEST_ID = 155  # bytes: the column of Celery's result tables; an AMQP correlation id may have 255


def _mistakes(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("task", "queue"):
        if "{{" in fields.get(name, ""):
            yield f"/{name}", f"{name} is a literal name: data must not choose what is called; write it out"
    if fields["task"].startswith(OWN_TASKS):
        yield "/task", f"tasks called {OWN_TASKS}* are the engine's own; name one of another application"
    if fields.get("queue") in OWN_QUEUES:
        yield "/queue", f"{fields['queue']} is the engine's own queue; name one of the other application"


class CeleryHandler:
    """Output: the task's return value. `queue` is the foreign queue; the step itself travels on `steps`."""

    TYPE: ClassVar[NodeType] = NodeType(
        type="celery",
        fields=(
            Field(name="task", kind=FieldKind.NAME, required=True),
            Field(name="args", kind=FieldKind.LIST),
            Field(name="kwargs", kind=FieldKind.OBJECT),
            Field(name="queue", kind=FieldKind.NAME),
        ),
        slow=True,
        external=True,
        timeout=_TIMEOUT,
        shape=("[(", ")]"),
        mistakes=_mistakes,
    )

    def __init__(self, parts: Parts) -> None:
        self._foreign = parts.foreign
        self._shared = parts.settings.shares_results

    def execute(self, ctx: StepContext) -> Outcome:
        """Send the task and park; what an earlier attempt is known to have done is taken instead."""
        if not self._shared:
            return Failed(error=StepError.of(ErrorCode.VALIDATION, _NOT_SHARED))
        try:
            call = _call(ctx)
            known = self._known(ctx, call.task_id)
            if known is not None or ctx.cancelled.is_set():
                return known or Cancelled()
            self._foreign.send(call)
        except InvalidError as error:
            return Failed(error=StepError.of(ErrorCode.VALIDATION, str(error)))
        except UnavailableError as error:
            return Failed(error=StepError.of(ErrorCode.NETWORK, str(error)))
        return Waiting(reason=f"task {call.name} of queue {call.queue}", seconds=_FIRST_LOOK)

    def answer(self, parked: Parked) -> Succeeded | Failed | None:
        """What came of the attempt's task. Raises UnavailableError when the result backend does not say."""
        task_id = _task_id(parked, parked.attempt)
        return _outcome(task_id, self._foreign.result(task_id))

    def stop_data(self, ctx: StepContext) -> dict[str, str]:
        """What `stop` needs to end this attempt."""
        return {"task_id": _task_id(ctx, ctx.attempt)}

    def stop(self, data: dict[str, str]) -> None:
        """Let no worker begin the task. Raises UnavailableError when the broker can't be reached."""
        self._foreign.revoke(data["task_id"])

    def _known(self, ctx: StepContext, task_id: str) -> Succeeded | Failed | None:
        """What is known of the work already: by attempts whose worker was lost, or under the step's own key.

        A lost attempt may have sent its task: one that has not begun yet is not to begin any more.
        """
        for attempt in ctx.lost:
            earlier = _task_id(ctx, attempt)
            found = _outcome(earlier, self._foreign.result(earlier))
            if found is not None:
                return found
            self._foreign.revoke(earlier)
        if _is_default(ctx):
            return None
        outcome = _outcome(task_id, self._foreign.result(task_id))
        if isinstance(outcome, Failed):
            _log.info("an earlier failure under the same key is forgotten", task=task_id)
            self._foreign.forget(task_id)
            return None
        return outcome


_NOT_SHARED = (
    "other applications have no result backend in common with this one; set ORCHESTRATOR_RESULT_BACKEND to a "
    "Redis URL or to db+postgresql://…, and the same in the application"
)


def _call(ctx: StepContext) -> ForeignCall:
    args, kwargs = ctx.fields.get("args") or [], ctx.fields.get("kwargs") or {}
    if not isinstance(args, list):
        raise InvalidError("args is no list")
    if not isinstance(kwargs, dict):
        raise InvalidError("kwargs is no object")
    return ForeignCall(
        task_id=_task_id(ctx, ctx.attempt),
        name=ctx.fields["task"],
        args=args,
        kwargs=kwargs,
        queue=ctx.fields.get("queue") or _DEFAULT_QUEUE,
        headers={"idempotency_key": ctx.idempotency_key, "run_id": ctx.run_id, "step": ctx.path},
        expires=None if ctx.deadline is None else max(0.0, ctx.deadline - time.monotonic()),
        wakes=(ctx.run_id, ctx.no, ctx.attempt),
    )


def _task_id(step: StepContext | Parked, attempt: int) -> str:
    """The step's key and the attempt; one broker serves many workspaces, so an own key is kept to its own."""
    key = step.idempotency_key if _is_default(step) else f"{step.workspace_id}:{step.idempotency_key}"
    found = f"{key}:{attempt}"
    if len(found.encode(errors="replace")) <= _LONGEST_ID and found.isprintable():
        return found
    return f"{key[:36]}:{hashlib.sha256(key.encode(errors='replace')).hexdigest()}:{attempt}"


def _is_default(step: StepContext | Parked) -> bool:
    return step.idempotency_key.startswith(f"{step.run_id}:")


def _outcome(task_id: str, found: ForeignValue | ForeignError | None) -> Succeeded | Failed | None:
    match found:
        case None:
            return None
        case ForeignValue(value=value):
            return Succeeded(output=value)
        case ForeignError(name=name, module=module, message=message):
            details = {"class": name, "module": module, "message": message, "task_id": task_id}
            said = f"{name}: {message}" if message else name
            code = ErrorCode.NETWORK if (module, name) == _UNTOLD else ErrorCode.TOOL_FAILED
            return Failed(error=StepError.of(code, said, details=details, transient=True))
