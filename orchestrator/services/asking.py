"""Asking a handler: what it says is taken on our terms, what it raises is a failure."""

import time
import traceback
from collections.abc import Collection

import structlog

from models.database import OUTAGES
from models.errors import ErrorCode, OrchestratorError
from orchestrator.core import redact
from orchestrator.core.acceptance import Terms
from orchestrator.core.outcome import Failed, Outcome, StepError
from orchestrator.ports import NodeHandler, StepContext
from orchestrator.services.deps import Deps

_log = structlog.get_logger(__name__)


def ask(deps: Deps, ctx: StepContext, secrets: Collection[str]) -> Outcome:
    """The outcome of a handler's work, as it may be stored. Raises OUTAGES, what the database raises."""
    own = terms(deps, secrets)
    try:
        handler, began = _handler(deps, ctx.type), time.perf_counter()
        outcome = handler.execute(ctx)
        deps.paces.took(ctx.type, time.perf_counter() - began)
        return own.accept(outcome)
    except OUTAGES:
        raise
    except OrchestratorError as error:
        failure = step_error(error)
    except (Exception, SystemExit) as error:
        shown = redact.redact(traceback.format_exc(), secrets)
        _log.error("handler raised", run=ctx.run_id, step=ctx.path, attempt=ctx.attempt, traceback=shown)
        failure = StepError.of(ErrorCode.INTERNAL, f"{type(error).__name__}: {error}")
    return Failed(error=own.shown(failure))


def terms(deps: Deps, secrets: Collection[str]) -> Terms:
    return Terms(max_nesting=deps.settings.max_nesting, secrets=secrets)


def step_error(error: OrchestratorError) -> StepError:
    """An exception of ours as a step's failure."""
    code = error.code if error.code in ErrorCode.__members__ else ErrorCode.VALIDATION
    return StepError.of(ErrorCode(code), str(error))


def _handler(deps: Deps, type_: str) -> NodeHandler:
    handler = deps.handlers.get(type_)
    if handler is None:
        raise OrchestratorError(
            f"this worker has no node type {type_!r}; install its plug-in and start it again"
        )
    return handler
