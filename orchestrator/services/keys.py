"""API keys: random tokens, stored as digests, shown once.

A token is derived from a random nonce and the installation's secret key. So a repeat of the creating call
(same Idempotency-Key) can show it again while only the nonce is kept, never the token.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from models.base import uuid7
from models.errors import NotFoundError, UnauthorizedError
from models.queries import keys
from models.workspace import ApiKey
from orchestrator.services import auditing, paging, tokens, workspaces
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.paging import PageRequest
from orchestrator.services.shapes import moment
from orchestrator.settings import Settings

PREFIX = "ork_"


def authenticate(deps: Deps, text: str) -> Actor:
    """The actor of a key's text. Raises UnauthorizedError when the key is unknown or revoked."""
    with deps.db.read() as session:
        row = keys.by_digest(session, tokens.digest(text))
    if row is None:
        raise UnauthorizedError("The key is unknown or revoked; send 'Authorization: Bearer <a live key>'")
    return Actor(
        workspace_id=row.workspace_id,
        key_id=row.id,
        scopes=frozenset(row.scopes),
        name=row.name,
        agent_id=row.agent_id,
    )


def create(
    deps: Deps, actor: Actor, *, name: str, scopes: Sequence[str], workspace: str | None, once: Once
) -> dict[str, Any]:
    """A new key, `key` shown this once. Raises NotFoundError for a workspace out of reach."""
    with deps.db.transaction() as session:
        kept = once.begin(session)
        if kept is None:
            place = workspaces.reachable(session, actor, workspace or actor.workspace_id)
            row, nonce = _add(session, deps.settings, place.id, name=name, scopes=scopes)
            made = _view(row, place.name)
            auditing.record(session, actor, "key.create", f"key:{row.id}", after=made, workspace_id=place.id)
            kept = {**made, "nonce": nonce}
            once.finish(session, kept)
    shown = {key: value for key, value in kept.items() if key != "nonce"}
    return {**shown, "key": token(deps.settings, kept["nonce"])}


def get(deps: Deps, actor: Actor, key_id: str) -> dict[str, Any]:
    """A key without its token. Raises NotFoundError."""
    with deps.db.read() as session:
        row, workspace = _found(session, actor, key_id)
        return _view(row, workspace)


def list_(deps: Deps, actor: Actor, request: PageRequest) -> dict[str, Any]:
    """The keys that the actor administers, newest first, revoked ones too."""
    scope = ["keys", actor.workspace_id]
    before = request.after(scope)
    with deps.db.read() as session:
        rows = keys.page(session, workspace_id=_bound(session, actor), before=before, limit=request.limit + 1)
        return paging.page(rows, request, scope, place=lambda row: row[0].id, show=lambda row: _view(*row))


def revoke(deps: Deps, actor: Actor, key_id: str, once: Once) -> dict[str, Any]:
    """End a key; a repeat changes nothing. Raises NotFoundError."""
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        row, workspace = _found(session, actor, key_id)
        before = _view(row, workspace)
        keys.revoke(session, row.id, datetime.now(UTC))
        session.refresh(row)
        answer = _view(row, workspace)
        if before["revoked_at"] is None:
            target, place = f"key:{row.id}", row.workspace_id
            auditing.record(
                session, actor, "key.revoke", target, before=before, after=answer, workspace_id=place
            )
        once.finish(session, answer)
        return answer


def bootstrap(deps: Deps, known: str | None = None) -> str:
    """A live admin token of the default workspace: `known` if it is one, else a new one's.

    For the operator at the machine, who has no key yet; makes the workspace when it is missing.
    """
    with deps.db.transaction() as session:
        place = workspaces.ensure_default(session)
        if known is not None:
            row = keys.by_digest(session, tokens.digest(known))
            if row is not None and row.workspace_id == place.id and "admin" in row.scopes:
                return known
        row, nonce = _add(session, deps.settings, place.id, name="admin", scopes=["admin"])
        operator = Actor(workspace_id=place.id, key_id="machine", scopes=frozenset(), name="operator at the machine")
        auditing.record(session, operator, "key.create", f"key:{row.id}", after=_view(row, place.name))
    return token(deps.settings, nonce)


def issue(session: Session, settings: Settings, *, workspace_id: str, agent_id: str, name: str) -> str:
    """Make an agent's own key; the nonce that `token` derives its text from."""
    _, nonce = _add(session, settings, workspace_id, name=name, scopes=["agent"], agent_id=agent_id)
    return nonce


def token(settings: Settings, nonce: str) -> str:
    """The text of the key of a nonce."""
    return PREFIX + tokens.derived(settings, "api-key", nonce)


def _add(
    session: Session,
    settings: Settings,
    workspace_id: str,
    *,
    name: str,
    scopes: Sequence[str],
    agent_id: str | None = None,
) -> tuple[ApiKey, str]:
    nonce = tokens.nonce()
    row = ApiKey(
        id=uuid7(),
        workspace_id=workspace_id,
        name=name,
        digest=tokens.digest(token(settings, nonce)),
        scopes=list(scopes),
        created_at=datetime.now(UTC),
        agent_id=agent_id,
    )
    session.add(row)
    session.flush()
    return row, nonce


def _bound(session: Session, actor: Actor) -> str | None:
    return None if workspaces.operates(session, actor) else actor.workspace_id


def _found(session: Session, actor: Actor, key_id: str) -> Row[ApiKey, str]:
    row = keys.find(session, _bound(session, actor), key_id)
    if row is None:
        raise NotFoundError(f"There is no key {key_id!r}")
    return row


def _view(row: ApiKey, workspace: str) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "scopes": row.scopes,
        "workspace": workspace,
        "created_at": moment(row.created_at),
        "revoked_at": moment(row.revoked_at),
        "expires_at": moment(row.expires_at),
        "agent_id": row.agent_id,
    }
