"""Creating the run that a parked step waits for (spec "definition", subworkflow).

The entry of the outbox is what makes it happen once: whoever takes it creates the run, in one transaction.
"""

from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy.orm import Session

from models.base import dump_json
from models.database import OUTAGES
from models.errors import BudgetExceededError, ErrorCode, InvalidError, OrchestratorError
from models.queries import calls, outbox, steps
from models.queries.calls import Caller
from models.queries.outbox import Entry
from models.states import RunStatus, StepStatus
from orchestrator.core.effects import Effect
from orchestrator.core.outcome import Call, Failed, StepError, Usage
from orchestrator.services import runs, telling, waking
from orchestrator.services.actors import Actor
from orchestrator.services.crash import crash_point
from orchestrator.services.deps import Deps
from orchestrator.services.links import Link
from orchestrator.services.runs import Trigger

_log = structlog.get_logger(__name__)


class _GivenUpError(OrchestratorError):
    """The calling run is being stopped."""

    code = ErrorCode.CANCELLED.value


def begin(deps: Deps, entry: Entry) -> Sequence[Effect]:
    """Create the run that an attempt calls, or fail the attempt with the reason why there is none."""
    call = Call(**entry.data)
    try:
        with deps.db.transaction() as session:
            if not outbox.take(session, entry.id) or not _waits(session, entry):
                return ()
            effects = _create(deps, session, entry, call)
            crash_point("calling")
            return effects
    except OUTAGES:
        raise
    except OrchestratorError as error:
        refused = _refused(call, error)
    except Exception as error:
        _log.exception("run not created", run=entry.run_id, step=entry.no, workflow=call.workflow)
        message = f"the run could not be created ({type(error).__name__}); the log has more"
        refused = _failed(StepError.of(ErrorCode.INTERNAL, message))
    effects = waking.settle(deps, entry.run_id, entry.no, entry.attempt, refused)
    with deps.db.transaction() as session:
        if outbox.take(session, entry.id):
            return effects
        # Somebody else has created it meanwhile: what was refused a moment ago is there now.
        return (*effects, telling.recall(session, entry.run_id, entry.no, entry.attempt))


def _waits(session: Session, entry: Entry) -> bool:
    (step,) = steps.hot(session, entry.run_id, [entry.no])
    return step.status == StepStatus.WAITING and step.attempt == entry.attempt


def _create(deps: Deps, session: Session, entry: Entry, call: Call) -> Sequence[Effect]:
    caller = calls.caller(session, entry.run_id)
    undoes = deps.plans.get(session, caller.version_id).at(entry.no).undoes is not None
    if caller.stopping is not None and not undoes:
        raise _GivenUpError("the run is being stopped; nothing more is called")
    depth, limit = caller.depth + 1, deps.settings.max_call_depth
    if depth > limit:
        raise InvalidError(
            f"workflow {call.workflow!r} would be called at depth {depth}, the limit is {limit}; does it call "
            "itself without end? Otherwise raise ORCHESTRATOR_MAX_CALL_DEPTH"
        )
    _check_size(call, deps.settings.max_body_bytes)
    link = Link(
        run_id=caller.id,
        step=calls.path(session, entry.run_id, entry.no),
        attempt=entry.attempt,
        detached=not call.wait,
        depth=depth,
        budget_run_id=caller.budget_id if caller.has_budget and not undoes else None,
        paused=call.wait and caller.status == RunStatus.PAUSED,
    )
    trigger = Trigger(inputs=call.inputs, version=call.version, priority=caller.priority)
    effects = runs.create_called(deps, session, _actor(caller), call, trigger, link)
    return effects if call.wait else [*effects, telling.created(session, call.run_id)]


def _check_size(call: Call, limit: int) -> None:
    size = len(dump_json(call.inputs).encode())
    if size > limit:
        raise InvalidError(
            f"the inputs have {size} bytes, a run takes {limit}; raise ORCHESTRATOR_MAX_BODY_BYTES"
        )


def _actor(caller: Caller) -> Actor:
    return Actor(
        workspace_id=caller.workspace_id, key_id="", scopes=frozenset(), name=caller.created_by or ""
    )


def _refused(call: Call, error: OrchestratorError) -> Failed:
    details: dict[str, Any] = {"workflow": call.workflow, "version": call.version}
    code = ErrorCode.VALIDATION
    if isinstance(error, BudgetExceededError):
        code = ErrorCode.BUDGET_EXCEEDED
    elif isinstance(error, _GivenUpError):
        code = ErrorCode.CANCELLED
    if isinstance(error, InvalidError):
        details["errors"] = [
            {"pointer": p.pointer, "code": p.code, "message": p.message} for p in error.problems
        ]
    return _failed(StepError.of(code, str(error), details=details, transient=False))


def _failed(error: StepError) -> Failed:
    return Failed(error=error, usage=Usage(cost_microcents=0))
