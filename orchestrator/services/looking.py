"""Looking for the answer to a parked attempt, where its handler can tell: when woken, and from time to time.

Whoever does the work wakes us at its end; a wake that was lost, or came before the answer could be read, is made
good by timers of this process (0.1 s, doubling) and by the sweep `due` (half the attempt's age, 1 to 30 s). The
sweep only says who is to be asked: a worker of the step's queue asks, since whoever is asked may be slow to answer.
"""

import structlog

from models.database import OUTAGES
from models.errors import ErrorCode, UnavailableError
from models.queries import runs, steps, sweeps
from models.states import StepStatus
from orchestrator.core.effects import Effect, Look, Message, Resume, Timer
from orchestrator.core.outcome import Again, Failed, StepError, Succeeded
from orchestrator.ports import Answering, Parked
from orchestrator.services import claiming, waking
from orchestrator.services.claiming import Claimed
from orchestrator.services.deps import Deps

_log = structlog.get_logger(__name__)
FIRST, SOONEST, LATEST = 0.1, 1.0, 30.0


def asks(deps: Deps, run_id: str, no: int) -> bool:
    """Whether the handler of a step can be asked for its answer; a timer's cannot.

    A type that this worker lacks may have one to ask, in another worker: its step is put off.
    """
    with deps.db.read() as session:
        info = runs.info(session, run_id)
        plan = None if info is None else deps.plans.get(session, info.version_id)
    handler = None if plan is None else _handler(deps, plan.at(no).type)
    return handler is None or isinstance(handler, Answering)


def can_tell(deps: Deps, type_: str) -> bool:
    """Whether the handler of a node type can be asked for the answer to a parked attempt."""
    return isinstance(_handler(deps, type_), Answering)


def woken(deps: Deps, run_id: str, no: int, attempt: int) -> tuple[Effect, ...]:
    """Whoever works on a parked attempt says that it has ended. What is to be sent."""
    return look(deps, run_id, no, attempt, 0.0)


def look(deps: Deps, run_id: str, no: int, attempt: int, after: float | None) -> tuple[Effect, ...]:
    """Look for the answer to a parked attempt and settle it; what is to be sent.

    after: seconds that a timer of this process has waited (0: none yet), None where the sweep comes again.
    """
    claimed = _waiting(deps, run_id, no, attempt)
    if claimed is None:
        return ()
    found = _answer(deps, claimed)
    if isinstance(found, Again) and _is_being_stopped(deps, run_id):
        message = "the run is being stopped, and the work that was sent is not there; it is not sent again"
        found = Failed(error=StepError.of(ErrorCode.CANCELLED, message))
    if isinstance(found, Again):
        return (Resume(message=_message(claimed)),)
    if found is not None:
        return waking.settle(deps, run_id, no, attempt, found)
    if after is None:
        return ()
    seconds = max(FIRST, 2 * after)
    if seconds > 2 * deps.settings.sweep_seconds:
        return ()
    return (Timer(run_id=run_id, no=no, attempt=attempt, seconds=seconds),)


def later(deps: Deps, run_id: str, no: int, attempt: int) -> tuple[Effect, ...]:
    """The sweep has come to a parked attempt: it is to be asked for, and the sweep comes again.

    After half the attempt's age, in real time; timers are of virtual time.
    """
    claimed = _waiting(deps, run_id, no, attempt)
    if claimed is None:
        return ()
    with deps.db.transaction() as session:
        began = steps.claimed_at(session, run_id, no, attempt)
        age = 0.0 if began is None else sweeps.clock(session) - began.timestamp()
        real = min(LATEST, max(SOONEST, age / 2))
        steps.put_off(session, run_id, no, attempt, deps.clock.now() + real / deps.clock.real(1.0))
    return (Look(message=_message(claimed)),)


def _waiting(deps: Deps, run_id: str, no: int, attempt: int) -> Claimed | None:
    """An attempt that is parked, as its worker held it; None where it is not, or has ended."""
    with deps.db.read() as session:
        info = runs.info(session, run_id)
        row = next(iter(steps.hot(session, run_id, [no])), None)
        if info is None or row is None or row.attempt != attempt or row.status != StepStatus.WAITING:
            return None
        return claiming.as_held(deps, session, info, row)


def _is_being_stopped(deps: Deps, run_id: str) -> bool:
    with deps.db.read() as session:
        return runs.is_being_stopped(session, run_id)


def _message(claimed: Claimed) -> Message:
    return Message(
        run_id=claimed.info.id,
        no=claimed.no,
        path=claimed.path,
        attempt=claimed.attempt,
        queue=claimed.queue,
    )


def _handler(deps: Deps, type_: str) -> object:
    return deps.handlers.get(type_)


def _answer(deps: Deps, claimed: Claimed) -> Succeeded | Failed | Again | None:
    handler = _handler(deps, claimed.node.type)
    if not isinstance(handler, Answering):
        return None
    try:
        return handler.answer(_parked(claimed))
    except OUTAGES:
        raise
    except UnavailableError as error:
        _log.warning("answer not looked for", run=claimed.info.id, step=claimed.path, error=str(error))
        return None
    except Exception as error:
        _log.exception("answer not understood", run=claimed.info.id, step=claimed.path)
        return Failed(error=StepError.of(ErrorCode.INTERNAL, f"{type(error).__name__}: {error}"))


def _parked(claimed: Claimed) -> Parked:
    return Parked(
        run_id=claimed.info.id,
        workspace_id=claimed.info.workspace_id,
        no=claimed.no,
        path=claimed.path,
        attempt=claimed.attempt,
        idempotency_key=claimed.idempotency_key or claimed.default_key,
    )
