"""What an agent sends to the address of its attempt: taken once, as if its gateway had said it."""

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from models.errors import ConflictError, NotFoundError, UnavailableError
from models.queries import routing, steps
from models.states import StepStatus
from orchestrator.core import agent_answer
from orchestrator.core.effects import Effect
from orchestrator.services import callbacks, gateways, veil, waking
from orchestrator.services.deps import Deps

PATIENCE, PAUSE = 2.0, 0.05


def take(deps: Deps, token: str, body: Mapping[str, Any]) -> tuple[Effect, ...]:
    """Settle a parked attempt by its agent's answer (core.agent_answer.read); what is to be sent.

    Raises NotFoundError for an address that is none, ConflictError where the attempt has ended, InvalidError. An
    agent may be quicker than the commit that parks its step: that is waited for, 2 s, then UnavailableError.
    """
    run_id, no, attempt = callbacks.attempt_of(deps.settings, token)
    with deps.db.read() as session:
        agent, gateway_id = routing.sent_to(session, run_id, no, attempt)
        secrets = [] if gateway_id is None else gateways.secrets(deps, session, gateway_id)
    outcome = veil.masked(secrets, agent_answer.read(agent, body))
    until = time.monotonic() + PATIENCE
    while not _parked(deps, run_id, no, attempt):
        if time.monotonic() > until:
            raise UnavailableError("the step is not ready for its answer yet; send it again in a second", 0.5)
        time.sleep(PAUSE)  # a request of its own: nothing else of the process waits
    effects = waking.settle(deps, run_id, no, attempt, outcome)
    with deps.db.read() as session:
        if steps.hot(session, run_id, [no])[0].attempt != attempt:
            raise _ended(attempt)
    return effects


def _parked(deps: Deps, run_id: str, no: int, attempt: int) -> bool:
    """False: not yet. Raises NotFoundError, ConflictError; an attempt that was given up is left to be recorded."""
    with deps.db.read() as session:
        status, now = _standing(session, run_id, no)
    if now > attempt or (now == attempt and status == StepStatus.WAITING):
        return True
    if now == attempt and status == StepStatus.RUNNING:
        return False
    raise _ended(attempt)


def _standing(session: Session, run_id: str, no: int) -> tuple[str, int]:
    rows = steps.hot(session, run_id, [no])
    if not rows:
        raise NotFoundError("There is no such run any more; its answer is not needed")
    return rows[0].status, rows[0].attempt


def _ended(attempt: int) -> ConflictError:
    return ConflictError(f"attempt {attempt} has ended already; its answer is not needed")
