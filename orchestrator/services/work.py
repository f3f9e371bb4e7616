"""Agents without a gateway pull: they claim parked steps under a lease, and end them.

Source: spec "http-api", /api/agents/{id}/work. What an agent sends counts as an outcome of the step's handler.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import Any

from sqlalchemy.orm import Session

from models.agent import Agent
from models.errors import ConflictError, OrchestratorError
from models.queries import agents as registry
from models.queries import runs, steps, sweeps
from models.queries import work as queries
from models.queries.agents import AVAILABLE
from models.queries.work import Piece
from orchestrator.core import agent_answer
from orchestrator.core.effects import Effect
from orchestrator.core.outcome import Failed
from orchestrator.handlers.agent import task_of
from orchestrator.ports import StepContext
from orchestrator.services import agents, asking, claiming, performing, tokens, unserved, waking
from orchestrator.services.actors import Actor
from orchestrator.services.agents import MINUTE, Done
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.shapes import moment
from orchestrator.settings import Settings

LEASES, LEAST_SECONDS = 3, 30


class _NothingError(Exception):
    """There is no work: the claim's transaction is rolled back, so that a repeat asks anew."""


def lease_seconds(settings: Settings) -> int:
    """How long claimed work stays an agent's without a word."""
    return max(LEAST_SECONDS, ceil(LEASES * settings.lease_seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Puller:
    """An agent that asks for work. `repeated`: the answer that its Idempotency-Key got before."""

    agent_id: str
    effects: tuple[Effect, ...] = ()
    repeated: dict[str, Any] | None = None


def arrive(deps: Deps, actor: Actor, agent: str, once: Once) -> Puller:
    """An agent asks for work, which tells that it is there.

    Raises NotFoundError, ForbiddenError, ConflictError (a repeat, whose lease is over).
    """
    agent_id, back = agents.asks(deps, actor, agent)
    effects = unserved.release(deps, actor.workspace_id) if back else ()
    return Puller(agent_id=agent_id, effects=effects, repeated=_repeated(deps, agent_id, once))


def _repeated(deps: Deps, agent_id: str, once: Once) -> dict[str, Any] | None:
    if once.key is None:
        return None
    try:
        with deps.db.transaction() as session:
            token = _token(deps, _nonce(once.begin(session)))
            piece = queries.held(session, agent_id, tokens.digest(token))
    except _NothingError:
        return None
    if piece is None:
        raise _over("the lease that this Idempotency-Key was given")
    return _shown(deps, piece, token)


def _nonce(kept: Mapping[str, Any] | None) -> str:
    if kept is None:
        raise _NothingError
    return str(kept["nonce"])


def take(deps: Deps, actor: Actor, agent_id: str, once: Once) -> Done | None:
    """The next work for an agent under a lease, None while there is none or it has enough.

    A step whose task can't be made out fails, with what follows as effects, and no answer.
    """
    if not _worth_asking(deps, actor, agent_id):
        return None
    nonce = tokens.nonce()
    token = _token(deps, nonce)
    try:
        with deps.db.transaction() as session:
            if once.begin(session) is not None:
                raise _over("the lease of a twin of this call")
            piece = _claim(session, deps, actor, agent_id, tokens.digest(token))
            once.finish(session, {"run_id": piece.run_id, "no": piece.no, "nonce": nonce})
    except _NothingError:
        return None
    try:
        return Done(answer=_shown(deps, piece, token))
    except OrchestratorError as error:
        return Done(answer={}, effects=_end(deps, piece, Failed(error=asking.step_error(error))))


def _worth_asking(deps: Deps, actor: Actor, agent_id: str) -> bool:
    """Whether a claim has a prospect: asked again and again, it locks and writes nothing."""
    with deps.db.read() as session:
        found = registry.find(session, actor.workspace_id, agent_id)
        return found is not None and _has_room(session, found[0]) and _next(session, found[0]) is not None


def _next(session: Session, row: Agent, *, lock: bool = False) -> Piece | None:
    return queries.fitting(
        session,
        workspace_id=row.workspace_id,
        agent_id=row.id,
        role=row.role,
        capabilities=row.capabilities,
        lock=lock,
    )


def _has_room(session: Session, row: Agent) -> bool:
    """Whether an agent may begin another step."""
    if row.status not in AVAILABLE:
        return False
    if row.max_concurrent is not None and registry.load(session, [row.id]).get(row.id, 0) >= row.max_concurrent:
        return False
    since = sweeps.clock(session) - MINUTE
    return row.rate_limit is None or registry.begun_since(session, row.id, since) < row.rate_limit


def _claim(session: Session, deps: Deps, actor: Actor, agent_id: str, digest: str) -> Piece:
    row = agents.own(session, actor, agent_id)
    piece = _next(session, row, lock=True) if _has_room(session, row) else None
    if piece is None:
        raise _NothingError
    until = sweeps.moment(session) + timedelta(seconds=lease_seconds(deps.settings))
    return queries.claim(session, piece, agent_id=row.id, agent=row.name, digest=digest, until=until)


def renew(deps: Deps, actor: Actor, agent: str, lease: str, once: Once) -> Done:
    """Keep work for another lease: {lease_until, lease_seconds}.

    Raises NotFoundError, ForbiddenError, ConflictError (the lease is over).
    """
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return Done(answer=kept)
        row = agents.own(session, actor, agent)
        back = agents.asked(session, row)
        piece = _renewed(session, deps, row.id, lease)
        if piece is None:
            raise _over("this lease")
        answer = _lease(deps, piece)
        once.finish(session, answer)
    return Done(answer=answer, effects=unserved.release(deps, actor.workspace_id) if back else ())


def end(
    deps: Deps, actor: Actor, agent: str, lease: str, body: Mapping[str, Any], once: Once
) -> Done:
    """End the step of claimed work by what the agent sent: {run_id, path, attempt, status}.

    The lease is prolonged first, so that nobody is given the work while its end is written down. Raises
    NotFoundError, ForbiddenError, InvalidError (body), ConflictError (the lease is over).
    """
    with deps.db.transaction() as session:
        row = agents.own(session, actor, agent)
        outcome = agent_answer.read(row.name, body)
        piece = _renewed(session, deps, row.id, lease)
    if piece is None:
        return Done(answer=_ended_before(deps, once))
    effects = _end(deps, piece, outcome)
    with deps.db.transaction() as session:
        kept = once.begin(session)
        if kept is None:
            kept = _ended(session, piece)
            once.finish(session, kept)
    return Done(answer=kept, effects=effects)


def _end(deps: Deps, piece: Piece, outcome: Any) -> tuple[Effect, ...]:
    effects = waking.settle(deps, piece.run_id, piece.no, piece.attempt, outcome)
    with deps.db.transaction() as session:
        queries.end(session, piece)
    return effects


def _ended(session: Session, piece: Piece) -> dict[str, Any]:
    (row,) = steps.hot(session, piece.run_id, [piece.no])
    return {"run_id": piece.run_id, "path": row.path, "attempt": piece.attempt, "status": row.status}


def _ended_before(deps: Deps, once: Once) -> dict[str, Any]:
    """The answer of the same call before. Raises ConflictError where there was none: nothing is kept then."""
    with deps.db.transaction() as session:
        kept = once.begin(session)
        if kept is None:
            raise _over("this lease")
        return kept


def _renewed(session: Session, deps: Deps, agent_id: str, lease: str) -> Piece | None:
    digest = tokens.digest(lease)
    until = sweeps.moment(session) + timedelta(seconds=lease_seconds(deps.settings))
    if not queries.renew(session, agent_id, digest, until):
        return None
    return queries.held(session, agent_id, digest)


def _shown(deps: Deps, piece: Piece, token: str) -> dict[str, Any]:
    """Work as its agent sees it. Raises OrchestratorError for a task or input that can't be resolved."""
    ctx = _context(deps, piece)
    task = task_of(ctx)
    step = {
        "run_id": ctx.run_id,
        "workflow": ctx.workflow,
        "path": ctx.path,
        "node": ctx.node_id,
        "attempt": ctx.attempt,
        "idempotency_key": ctx.idempotency_key,
        "task": {
            "title": task.title,
            "description": task.description,
            "priority": task.priority,
            "tags": list(task.tags),
        },
    }
    return {"step": step, "input": ctx.input, "lease_token": token, **_lease(deps, piece)}


def _context(deps: Deps, piece: Piece) -> StepContext:
    with deps.db.read() as session:
        info = runs.info(session, piece.run_id)
        assert info is not None, f"work of run {piece.run_id}, which is not there"
        (row,) = steps.hot(session, piece.run_id, [piece.no])
        claimed = claiming.as_held(deps, session, info, row)
    ctx, _ = performing.prepare(deps, claimed, performing.names_of(deps, claimed))
    return ctx


def _lease(deps: Deps, piece: Piece) -> dict[str, Any]:
    return {"lease_until": moment(piece.lease_until), "lease_seconds": lease_seconds(deps.settings)}


def _token(deps: Deps, nonce: str) -> str:
    return tokens.derived(deps.settings, "lease", nonce)


def _over(what: str) -> ConflictError:
    return ConflictError(
        f"{what[0].upper()}{what[1:]} is over: it ran out, or the step has ended or was stopped. "
        "Leave that work, and ask for the next"
    )
