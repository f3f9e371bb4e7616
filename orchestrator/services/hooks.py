"""Hooks as admins keep them: made, changed, removed. Each has an address, which is shown to admins alone.

An address's token is derived from a nonce and the installation's secret key, so that it can be shown again while
the database holds neither it nor a secret in plain text. Source: spec "http-api", /api/hooks.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from models.errors import ConflictError, InvalidError, NotFoundError, Problem
from models.hook import Hook
from models.queries import hooks, workflows
from orchestrator.core.hooks import NONE, problems
from orchestrator.services import auditing, hook_signatures, naming, paging, tokens, vault
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.paging import PageRequest
from orchestrator.services.shapes import moment

_AS_GIVEN = ("signal", "mapping", "dedup")


def create(deps: Deps, actor: Actor, body: Mapping[str, Any], once: Once) -> dict[str, Any]:
    """A new hook; a secret that was made for it is shown this once.

    Raises InvalidError (name, target, references, secret), ConflictError (name taken).
    """
    name = naming.checked(body["name"])
    with deps.db.transaction() as session:
        kept = once.begin(session)
        if kept is None:
            nonce = tokens.nonce()
            digest = tokens.digest(token(deps, nonce))
            values, made = _values(deps, session, actor, None, body)
            own = {"workspace_id": actor.workspace_id, "name": name, "nonce": nonce, "digest": digest}
            if hooks.add(session, {**own, **values}) is None:
                raise _taken(name)
            after = _shown(session, actor, name)
            auditing.record(session, actor, "hook.create", f"hook:{after['id']}", after=after)
            kept = {**after, "nonce": nonce, "made": made}
            once.finish(session, kept)
    return _with_secret(deps, actor, kept)


def update(deps: Deps, actor: Actor, hook: str, body: Mapping[str, Any], once: Once) -> dict[str, Any]:
    """Change what is given; another target takes the place of the one before.

    Raises NotFoundError, InvalidError, ConflictError as `create`.
    """
    with deps.db.transaction() as session:
        kept = once.begin(session)
        if kept is None:
            row, workflow = _found(session, actor, hook, lock=True)
            before = _view(row, workflow)
            values, made = _values(deps, session, actor, row, body)
            if "name" in body:
                values["name"] = naming.checked(body["name"])
                if hooks.name_is_taken(session, actor.workspace_id, values["name"], but=row.id):
                    raise _taken(values["name"])
            hooks.change(session, row.id, values)
            after = _shown(session, actor, row.id)
            auditing.record(session, actor, "hook.update", f"hook:{row.id}", before=before, after=after)
            kept = {**after, "nonce": row.nonce, "made": made}
            once.finish(session, kept)
    return _with_secret(deps, actor, kept)


def remove(deps: Deps, actor: Actor, hook: str, once: Once) -> dict[str, Any]:
    """Remove a hook: its address is none any more. Raises NotFoundError."""
    with deps.db.transaction() as session:
        kept = once.begin(session)
        if kept is None:
            row, workflow = _found(session, actor, hook, lock=True)
            before = _view(row, workflow)
            hooks.remove(session, row.id)
            auditing.record(session, actor, "hook.delete", f"hook:{row.id}", before=before)
            kept = {**before, "nonce": row.nonce}
            once.finish(session, kept)
    return _with_url(deps, actor, kept)


def get(deps: Deps, actor: Actor, hook: str) -> dict[str, Any]:
    """A hook by id or name. Raises NotFoundError."""
    with deps.db.read() as session:
        row, workflow = _found(session, actor, hook)
    return _with_url(deps, actor, {**_view(row, workflow), "nonce": row.nonce})


def list_(deps: Deps, actor: Actor, request: PageRequest) -> dict[str, Any]:
    """The workspace's hooks by name."""
    scope = ["hooks", actor.workspace_id]
    after = request.after(scope)
    with deps.db.read() as session:
        rows = hooks.page(session, actor.workspace_id, after=after, limit=request.limit + 1)
    return paging.page(
        rows,
        request,
        scope,
        place=lambda row: row[0].name,
        show=lambda row: _with_url(deps, actor, {**_view(*row), "nonce": row[0].nonce}),
    )


def token(deps: Deps, nonce: str) -> str:
    """What the address of a nonce ends in."""
    return tokens.derived(deps.settings, "hook", nonce)


def _values(
    deps: Deps, session: Session, actor: Actor, row: Hook | None, body: Mapping[str, Any]
) -> tuple[dict[str, Any], str | None]:
    """The columns that a body gives, checked with those that stay; and the nonce of a secret that was made."""
    values = {name: body[name] for name in _AS_GIVEN if name in body}
    if "workflow" in body:
        values["workflow_id"] = _workflow(session, actor, body["workflow"])
    given = {"workflow_id", "signal"} & {name for name, value in values.items() if value is not None}
    if len(given) == 1:
        values = {**dict.fromkeys(("workflow_id", "signal")), **values}
    whole = {name: values.get(name, getattr(row, name, None)) for name in ("workflow_id", *_AS_GIVEN)}
    wrong = problems(whole["workflow_id"], whole["signal"], whole["mapping"], whole["dedup"])
    if wrong:
        raise InvalidError("the hook is refused; see errors", wrong)
    scheme = body.get("scheme", NONE if row is None else row.scheme)
    secret, made = _secret(deps, scheme, body.get("secret"), row)
    return {**values, "scheme": scheme, "secret": secret}, made


def _secret(deps: Deps, scheme: str, given: str | None, row: Hook | None) -> tuple[str | None, str | None]:
    """A hook's secret, encrypted, and the nonce that it was made of."""
    if given is not None:
        return vault.seal(deps.settings, hook_signatures.checked(scheme, given)), None
    if scheme == NONE:
        return None, None
    if row is not None and row.scheme == scheme:
        return row.secret, None
    nonce = tokens.nonce()
    return vault.seal(deps.settings, hook_signatures.made(deps.settings, scheme, nonce)), nonce


def _workflow(session: Session, actor: Actor, workflow: str | None) -> str | None:
    if workflow is None:
        return None
    row = workflows.find(session, actor.workspace_id, workflow)
    if row is None:
        message = f"There is no workflow {workflow!r}; GET /api/workflows lists those that there are"
        raise InvalidError(message, [Problem(pointer="/workflow", code="INVALID_VALUE", message=message)])
    return row.id


def _found(session: Session, actor: Actor, hook: str, *, lock: bool = False) -> tuple[Hook, str | None]:
    found = hooks.find(session, actor.workspace_id, hook, lock=lock)
    if found is None:
        raise NotFoundError(f"There is no hook {hook!r}; GET /api/hooks lists those that there are")
    row, workflow = found
    return row, workflow


def _shown(session: Session, actor: Actor, hook: str) -> dict[str, Any]:
    return _view(*_found(session, actor, hook))


def _view(row: Hook, workflow: str | None) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "workflow": workflow,
        "signal": row.signal,
        "scheme": row.scheme,
        "has_secret": row.secret is not None,
        "mapping": row.mapping,
        "dedup": row.dedup,
        "created_at": moment(row.created_at),
        "updated_at": moment(row.updated_at),
    }


def _with_url(deps: Deps, actor: Actor, kept: Mapping[str, Any]) -> dict[str, Any]:
    """A hook as it is answered: its address is a key, and so for admins alone."""
    url = f"{deps.settings.url.rstrip('/')}/api/hooks/{token(deps, kept['nonce'])}"
    shown = {name: value for name, value in kept.items() if name not in ("nonce", "made")}
    return {**shown, "url": url if actor.may("admin") else None}


def _with_secret(deps: Deps, actor: Actor, kept: Mapping[str, Any]) -> dict[str, Any]:
    made = kept["made"]
    secret = None if made is None else hook_signatures.made(deps.settings, kept["scheme"], made)
    return {**_with_url(deps, actor, kept), "secret": secret}


def _taken(name: str) -> ConflictError:
    return ConflictError(f"There is a hook {name!r} already; choose another name, or PATCH that one")
