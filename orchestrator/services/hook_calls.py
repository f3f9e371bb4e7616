"""What comes to a hook: checked, and made a run or a signal, once for each number that the sender gives it.

The number's row is inserted first in the transaction that starts the run, so that twins wait for each other.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from sqlalchemy.orm import Session

from models.errors import InvalidError, NotFoundError, Problem
from models.hook import Hook
from models.queries import hooks, run_views, sweeps
from orchestrator.core import hooks as values
from orchestrator.core import untrusted
from orchestrator.core.document import parse
from orchestrator.core.effects import Effect
from orchestrator.core.hooks import NONE, NUMBERS
from orchestrator.services import hook_signatures, runs, signals, tokens, vault
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.runs import Trigger
from orchestrator.services.signals import Sent
from orchestrator.services.swept import BATCH

KEPT_SECONDS = 7 * 86_400.0  # senders that try again give up within days
_LONGEST_ID = 200
_MOST_FIELDS = 1_000
_GONE = "There is no hook at this address; ask who gave it to you for the one that holds now"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A request to a hook. raw: its body; is_form: that is a form, GitHub's of the field `payload`; headers by lower
    case; source: the address that it came from."""

    raw: bytes
    is_form: bool
    headers: Mapping[str, str]
    query: Mapping[str, str]
    source: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A hook that was found by its address."""

    hook: Hook
    workflow: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a request came to, and what is to be sent."""

    answer: dict[str, Any]
    effects: tuple[Effect, ...] = ()


class _RemovedError(NotFoundError):
    """The hook was removed since it was found."""


@dataclass(slots=True, kw_only=True)
class _Delivery(Once):
    """The guard of a hook that is still there, and of a number of its sender; without one everything is new."""

    hook_id: str
    number: str | None

    def earlier(self, session: Session) -> dict[str, Any] | None:
        return None if self.number is None else hooks.kept(session, self.hook_id, self.number)

    def begin(self, session: Session) -> dict[str, Any] | None:
        if not hooks.hold(session, self.hook_id):
            raise _RemovedError(_GONE)
        if self.number is None or hooks.claim(session, self.hook_id, self.number):
            return None
        self.answer, self.replayed = hooks.kept(session, self.hook_id, self.number), True
        return self.answer

    def finish(self, session: Session, answer: Mapping[str, Any]) -> None:
        self.answer = dict(answer)
        if self.number is not None:
            hooks.keep(session, self.hook_id, self.number, answer)


def find(deps: Deps, token: str) -> Target:
    """The hook of an address. Raises NotFoundError."""
    with deps.db.read() as session:
        found = hooks.by_digest(session, tokens.digest(token))
    if found is None:
        raise NotFoundError(_GONE)
    hook, workflow = found
    return Target(hook=hook, workflow=workflow)


def take(deps: Deps, target: Target, arrived: Arrived) -> Taken:
    """Start the hook's workflow, or send its signal: `{id, status, workflow, signal}`, of the run, null without one.

    Raises UnauthorizedError (signature), InvalidError (the body, the mapping, the inputs), ConflictError (the
    workflow is archived, the run has ended), NotFoundError (the hook was removed since).
    """
    hook = target.hook
    if hook.scheme != NONE:
        assert hook.secret is not None, "a scheme that checks has a secret"
        hook_signatures.verify(hook.scheme, vault.unseal(deps.settings, hook.secret), arrived.raw, arrived.headers)
    body = _body(deps, arrived)
    names = {"body": body, "headers": dict(arrived.headers), "query": dict(arrived.query)}
    number = _number(deps, hook, names)
    kept = None if number is None else hashlib.sha256(number.encode()).hexdigest()
    guard = _Delivery(hook_id=hook.id, number=kept)
    actor = Actor(
        workspace_id=hook.workspace_id,
        key_id=f"hook:{hook.id}",
        scopes=frozenset(),
        name=hook.name,
        source=arrived.source,
    )
    data = body if hook.mapping is None else values.filled(hook.mapping, names, deps.limits())
    if hook.workflow_id is not None:
        created = runs.create(deps, actor, hook.workflow_id, Trigger(inputs=_inputs(data)), guard)
        return Taken(answer=_answer(deps, target, created.run_id), effects=created.effects)
    return _signal(deps, actor, target, names, Sent(signal=hook.signal["name"], data=data, id=_id(number, kept)), guard)


def _body(deps: Deps, arrived: Arrived) -> Any:
    raw = arrived.raw
    if arrived.is_form:
        fields = _fields(raw)
        if "payload" not in fields:
            wrong = untrusted.problem(fields, max_nesting=2)
            if wrong is not None:
                raise InvalidError(wrong.message, [wrong])
            return fields
        raw = fields["payload"].encode("utf-8", "surrogatepass")
    return parse(raw, media="json", limits=deps.limits()).data if raw else {}


def _fields(raw: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"))
    except ValueError as error:
        message = f"the form cannot be read: it is no UTF-8, or has more than {_MOST_FIELDS:,} fields"
        raise InvalidError(
            message, [Problem(pointer="", code="MALFORMED", message=message)], code="MALFORMED"
        ) from error


def _number(deps: Deps, hook: Hook, names: Mapping[str, Any]) -> str | None:
    """The sender's own number of what it sent: as the hook says, else as its scheme has it."""
    if hook.dedup is not None:
        return values.text(hook.dedup, names, "/dedup", deps.limits())
    header = NUMBERS.get(hook.scheme)
    return None if header is None else names["headers"].get(header)


def _id(number: str | None, kept: str | None) -> str | None:
    return number if number is None or len(number) <= _LONGEST_ID else kept


def _inputs(data: Any) -> dict[str, Any]:
    if isinstance(data, dict):
        return data
    message = "the body is no object, and a run's inputs are one; give the hook a mapping, such as {items: {{body}}}"
    raise InvalidError(message, [Problem(pointer="", code="INVALID_TYPE", message=message)])


def _signal(
    deps: Deps, actor: Actor, target: Target, names: Mapping[str, Any], sent: Sent, guard: _Delivery
) -> Taken:
    signal = target.hook.signal
    way = "run" if signal.get("run") is not None else "key"
    pointer = f"/signal/{way}"
    place = values.text(signal[way], names, pointer, deps.limits())
    if not place:
        message = f"the signal's {way} is empty"
        raise InvalidError(message, [Problem(pointer=pointer, code="INVALID_VALUE", message=message)])
    if way == "key":
        received = signals.to_key(deps, actor, place, sent, guard)
        return Taken(answer=_answer(deps, target, received.answer["run_id"]), effects=received.effects)
    try:
        effects = signals.to_run(deps, actor, place, sent, guard)
    except _RemovedError:
        raise
    except NotFoundError as error:
        raise InvalidError(str(error), [Problem(pointer=pointer, code="INVALID_VALUE", message=str(error))]) from error
    return Taken(answer=_answer(deps, target, (guard.answer or {"id": place})["id"]), effects=effects)


def _answer(deps: Deps, target: Target, run_id: str | None) -> dict[str, Any]:
    """No more of the run than its status: who knows the address need not know what comes of it."""
    hook = target.hook
    with deps.db.read() as session:
        head = None if run_id is None else run_views.head(session, hook.workspace_id, run_id)
    return {
        "id": run_id,
        "status": None if head is None else head.status,
        "workflow": target.workflow,
        "signal": None if hook.signal is None else hook.signal["name"],
    }


def forget(deps: Deps) -> int:
    """Forget numbers after 7 days; how many."""
    with deps.db.read() as session:
        before = sweeps.clock(session) - KEPT_SECONDS
        if not hooks.any_before(session, before):
            return 0
    with deps.db.transaction() as session:
        return hooks.purge(session, before, BATCH)
