"""Signals from outside: to a run, or to whoever waits for (name, key). Source: spec "definition", `signal`.

What comes before anything waits for it is kept; the first of a sender's number counts. A signal and the step
that takes it are matched in one transaction; the step is then settled, at once or by the sweep `due`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy.orm import Session

from models.database import OUTAGES
from models.errors import ConflictError, InvalidError, NotFoundError, Problem, UnavailableError
from models.queries import runs, signals, steps
from models.queries.dialect import as_id
from models.queries.runs import RunState
from models.queries.signals import Waiter
from models.states import RUN_TERMINAL
from orchestrator.core import schema
from orchestrator.core.effects import Effect
from orchestrator.core.outcome import Succeeded
from orchestrator.core.people import MOST_SIGNAL_BYTES, is_too_long
from orchestrator.core.plan import Plan
from orchestrator.services import audited, auditing, waking
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.people import FREE

_log = structlog.get_logger(__name__)
_TRIES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A signal as it was sent; `id` is the sender's own number of it."""

    signal: str
    data: Any = None
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What became of a signal, and what is to be sent."""

    answer: dict[str, Any]
    effects: tuple[Effect, ...] = ()


def to_run(deps: Deps, actor: Actor, run_id: str, sent: Sent, once: Once | None = None) -> tuple[Effect, ...]:
    """Signal a run: its step that waits for it goes on, or it is kept until one does.

    Raises NotFoundError, ConflictError (the run has ended), InvalidError (the schema refuses the data; pointers
    below /data). A number that is known already changes nothing.
    """
    guard = once or Once()
    with deps.db.transaction() as session:
        if guard.begin(session) is not None:
            return ()
        state = runs.lock(session, run_id, actor.workspace_id) if as_id(run_id) else None
        if state is None:
            raise NotFoundError(f"there is no run {run_id}; GET /api/runs lists those that there are")
        waiter = None
        if not _is_known(session, actor, sent, run_id=run_id):
            _check_open(state, run_id)
            waiter = _of_run(deps, session, actor, run_id, sent)
            _write(deps, session, actor, sent, waiter, run_id=run_id)
            told = {"signal": sent.signal, "id": sent.id, "data": [sent.data]}
            audited.run(session, actor, "signal", run_id, state.status, told=told)
        guard.finish(session, {"id": run_id})
    return _settle(deps, waiter, sent.data)


def to_key(deps: Deps, actor: Actor, key: str, sent: Sent, once: Once | None = None) -> Received:
    """Signal whoever waits for (name, key); it is kept until somebody does.

    The answer is `{signal, key, id, run_id, step}`; no run where it is kept. Raises InvalidError (the schema of
    all who wait refuses the data, the key is too long).
    """
    guard = once or Once()
    if is_too_long(sent.signal, key, sent.id):
        message = f"signal, key and id have at most {MOST_SIGNAL_BYTES:,} bytes of UTF-8 together"
        raise InvalidError(message, [Problem(pointer="/key", code="INVALID_VALUE", message=message)])
    for _ in range(_TRIES):
        with deps.db.read() as session:
            came = guard.earlier(session) is not None or _is_known(session, actor, sent, key=key)
            meant = None if came else _fitting(deps, session, actor, key, sent)
        try:
            with deps.db.transaction() as session:
                if (kept := guard.begin(session)) is not None:
                    return Received(answer=kept)
                found = _match(deps, session, actor, key, sent, meant)
                answer = _shown(session, actor, key, sent, found)
                guard.finish(session, answer)
        except _MovedError:
            continue
        return Received(answer=answer, effects=_settle(deps, found, sent.data))
    raise UnavailableError(f"steps that wait for {sent.signal!r} of {key!r} come and go; send it again")


class _MovedError(Exception):
    """Somebody came or went between the look and the lock."""


def _match(
    deps: Deps, session: Session, actor: Actor, key: str, sent: Sent, meant: Waiter | None
) -> Waiter | None:
    """Write a signal and who takes it, under the locks; None where it is kept, or known already."""
    if meant is not None:
        runs.lock(session, meant.run_id)
    signals.lock_key(session, actor.workspace_id, sent.signal, key)
    if _is_known(session, actor, sent, key=key):
        return None
    found = _fitting(deps, session, actor, key, sent)
    if found != meant:
        raise _MovedError
    _write(deps, session, actor, sent, found, key=key)
    told = {"id": sent.id, "data": [sent.data], "run_id": None if found is None else found.run_id}
    auditing.record(session, actor, "signal.send", f"signal:{sent.signal}/{key}", after=told)
    return found


def _check_open(state: RunState, run_id: str) -> None:
    if state.status in RUN_TERMINAL:
        raise ConflictError(f"run {run_id} is {state.status} already; nothing in it waits for a signal")
    if state.stopping is not None:
        raise ConflictError(f"run {run_id} is being stopped; nothing in it waits for a signal")


def _is_known(
    session: Session, actor: Actor, sent: Sent, *, run_id: str | None = None, key: str | None = None
) -> bool:
    if sent.id is None:
        return False
    found = signals.known(session, actor.workspace_id, sent.signal, sent.id, run_id=run_id, key=key)
    return found is not None


def _of_run(deps: Deps, session: Session, actor: Actor, run_id: str, sent: Sent) -> Waiter | None:
    """The step of a run that takes a signal; None where it is kept. Raises InvalidError."""
    now = deps.clock.now()
    waiting = signals.waiters(session, actor.workspace_id, sent.signal, now, run_id=run_id)
    if waiting:
        return _first(waiting, sent)
    info = runs.info(session, run_id)
    assert info is not None
    schemas = _schemas(deps.plans.get(session, info.version_id), sent.signal)
    if schemas:
        _fits(schemas, sent)
    return None


def _schemas(plan: Plan, name: str) -> list[Any]:
    """The schemas of the nodes that will wait for a signal; None for a node that takes any data."""
    named = (node for node in plan.nodes if node.type == "signal" and node.fields["signal"] == name)
    return [node.fields.get("schema") for node in named]


def _fitting(deps: Deps, session: Session, actor: Actor, key: str, sent: Sent) -> Waiter | None:
    waiting = signals.waiters(session, actor.workspace_id, sent.signal, deps.clock.now(), key=key)
    return _first(waiting, sent) if waiting else None


def _first(waiting: Sequence[Waiter], sent: Sent) -> Waiter:
    return waiting[_fits([waiter.schema for waiter in waiting], sent)]


def _fits(schemas: Sequence[Any], sent: Sent) -> int:
    """Which is the first of the schemas that takes the data. Raises InvalidError with what the first one says."""
    refused: list[Problem] = []
    for place, wanted in enumerate(schemas):
        problems = [] if wanted is None else schema.problems(wanted, sent.data, "/data")
        if not problems:
            return place
        refused = refused or problems
    raise InvalidError(f"the data is refused by the schema of the signal {sent.signal!r}", refused)


def _write(
    deps: Deps,
    session: Session,
    actor: Actor,
    sent: Sent,
    waiter: Waiter | None,
    *,
    run_id: str | None = None,
    key: str | None = None,
) -> None:
    own = {
        "workspace_id": actor.workspace_id,
        "run_id": run_id,
        "name": sent.signal,
        "key": key,
        "sender_id": sent.id,
        "data": sent.data,
        "sent_by": actor.name,
    }
    signals.add(session, own, waiter)
    told = {"signal": sent.signal, "key": key, "id": sent.id}
    at = waiter.run_id if waiter is not None else run_id
    if at is not None:
        path = None if waiter is None else waiter.path
        runs.note(session, at, "signal.received", told, actor=actor.name, step=path)
    if waiter is not None:  # the sweep settles it, in case this process does not
        steps.put_off(session, waiter.run_id, waiter.no, waiter.attempt, deps.clock.now())


def _shown(session: Session, actor: Actor, key: str, sent: Sent, found: Waiter | None) -> dict[str, Any]:
    shown = {"signal": sent.signal, "key": key, "id": sent.id}
    if found is not None:
        return {**shown, "run_id": found.run_id, "step": found.path}
    first = None
    if sent.id is not None:
        first = signals.known(session, actor.workspace_id, sent.signal, sent.id, run_id=None, key=key)
    if first is None or first.taken_run_id is None or first.taken_no is None:
        return {**shown, "run_id": None, "step": None}
    (row,) = steps.hot(session, first.taken_run_id, [first.taken_no])
    return {**shown, "run_id": first.taken_run_id, "step": row.path}


def _settle(deps: Deps, waiter: Waiter | None, data: Any) -> tuple[Effect, ...]:
    if waiter is None:
        return ()
    try:
        outcome = Succeeded(output=data, usage=FREE)
        return waking.settle(deps, waiter.run_id, waiter.no, waiter.attempt, outcome)
    except OUTAGES as error:
        _log.warning("signal settled by the sweep", run=waiter.run_id, reason=type(error).__name__)
        return ()
