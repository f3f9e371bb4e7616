"""What a given-up attempt has done after all is undone, where its step has a compensation and has not succeeded.

Source: spec "engine", Abort: a late success is recorded on its attempt and undone.
"""

from sqlalchemy.orm import Session

from models.queries import compensations
from models.queries.compensations import Undo
from models.queries.runs import RunState
from models.states import RunStatus
from orchestrator.core.effects import Effect
from orchestrator.core.outcome import Outcome, Succeeded
from orchestrator.services import compensating, to_undo
from orchestrator.services.advance import Advance
from orchestrator.services.claiming import Claimed
from orchestrator.services.deps import Deps

_ENDED = (RunStatus.FAILED, RunStatus.ABORTED, RunStatus.COMPENSATED)


def is_to_be_undone(session: Session, claimed: Claimed, outcome: Outcome) -> bool:
    """Whether what came late is a success that nothing else stands for, now or once its run compensates.

    One from before its step was done anew is not: its work has another key, and is an older history's.
    """
    if claimed.node.undone_by is None or not isinstance(outcome, Succeeded):
        return False
    return not compensations.was_reset(session, claimed.info.id, claimed.path, claimed.attempt)


def undo(deps: Deps, session: Session, claimed: Claimed, state: RunState) -> list[Effect]:
    """Undo it now, where the run undoes what it has done or has ended; `step.fenced` is its last event.

    A run that goes on, or has succeeded, takes it with the rest where it is undone later.
    """
    info = claimed.info
    if state.status not in (*_ENDED, RunStatus.COMPENSATING):
        return []
    if claimed.no in compensations.known(session, info.id) or not to_undo.is_given_up(session, info.id, claimed.no):
        return []
    late = Undo(no=claimed.no, attempt=claimed.attempt, seq=state.seq + 1)
    compensations.add(session, info.id, [late])
    if state.status is RunStatus.COMPENSATING:
        return []  # it is the next one
    advance = Advance(deps=deps, session=session, plan=claimed.plan, info=info)
    told = {"reason": f"attempt {claimed.attempt} of step {claimed.path} succeeded after it was given up"}
    compensating.start(advance, told)
    return advance.waves()
