"""The end of a run: when its last step has ended, and nothing of it is to be undone.

Source: spec "engine", States and Compensation.
"""

from dataclasses import dataclass, field
from typing import Any

from models.errors import OrchestratorError
from models.queries import runs
from models.queries.runs import RunState
from models.states import RUN_TERMINAL, RunStatus
from orchestrator.core import values
from orchestrator.core.effects import Arrange
from orchestrator.core.outcome import StepError
from orchestrator.services import asking, compensating, data, telling
from orchestrator.services.advancing import Advancing

COMPLETED = "run.completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """How a run ends, unless something of it is to be undone first. `error` is kept where the run has none."""

    to: RunStatus
    event: str
    told: dict[str, Any] = field(default_factory=dict)
    undone: bool = False
    error: dict[str, Any] | None = None
    outputs: Any = None
    actor: str | None = None


def finish(advance: Advancing) -> None:
    """Every step has ended: so does the run, or it undoes the next one."""
    if advance.sound and _succeeded(advance):
        return
    state = runs.lock(advance.session, advance.info.id)
    if state is None or state.status in RUN_TERMINAL:
        return
    if state.status is RunStatus.COMPENSATING:
        if not compensating.go_on(advance):
            _tell(advance)
            compensating.end(advance, state)
        return
    end = _end(advance, state)
    if end.undone and compensating.begin(advance, end.told, actor=end.actor, error=end.error):
        return
    _tell(advance)
    runs.move(
        advance.session,
        advance.info.id,
        end.to,
        end.event,
        end.told,
        actor=end.actor,
        error=end.error,
        outputs=end.outputs,
    )


def _succeeded(advance: Advancing) -> bool:
    """End the run in success by one statement; False where it has failed, is being stopped or is not open."""
    try:
        outputs = _outputs(advance)
    except OrchestratorError:
        return False
    if not runs.succeed(advance.session, advance.info.id, COMPLETED, outputs):
        return False
    _tell(advance)
    return True


def _outputs(advance: Advancing) -> Any:
    """What the workflow says that its runs give. Raises OrchestratorError where that has no value."""
    if advance.plan.outputs is None:
        return None
    return values.resolve(advance.plan.outputs, data.names(advance.session, advance.plan, advance.info))


def _tell(advance: Advancing) -> None:
    advance.effects.extend(telling.ended(advance.session, advance.info))
    if advance.info.concurrency_key is not None:
        advance.effects.append(Arrange(key=advance.info.concurrency_key))


def _end(advance: Advancing, state: RunState) -> _End:
    if state.stopping in (RunStatus.ABORTED, RunStatus.COMPENSATING):
        return _End(
            to=RunStatus.ABORTED,
            event="run.aborted",
            told={"reason": state.error["message"]},
            undone=state.stopping == RunStatus.COMPENSATING,
            actor=(state.error["details"] or {}).get("by"),
        )
    if state.error is not None or state.stopping == RunStatus.FAILED:
        return _failed(state.error)
    try:
        outputs = _outputs(advance)
    except OrchestratorError as error:
        return _failed(run_error(asking.step_error(error), None))
    return _End(to=RunStatus.SUCCESS, event=COMPLETED, outputs=outputs)


def _failed(error: dict[str, Any] | None) -> _End:
    return _End(to=RunStatus.FAILED, event="run.failed", told={"error": error}, undone=True, error=error)


def run_error(error: StepError, step: str | None) -> dict[str, Any]:
    """A step's failure as the run's error."""
    return {"code": error.code.value, "message": error.message, "step": step, "details": error.details}
