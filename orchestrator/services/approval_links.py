"""Links by which somebody without a key votes on one approval, once.

A link's token says whom it is for and which approval, signed with a key derived from the installation's secret;
nothing of it is stored. Its number is the voter of the vote, so that it counts once; it ends with its approval.
"""

import base64
import binascii
import hmac
import json
import secrets
from dataclasses import dataclass, replace
from typing import Any

from models.errors import ConflictError, NotFoundError
from models.queries import approvals, runs
from orchestrator.core.people import Verdict
from orchestrator.services import approval_views, auditing, vault
from orchestrator.services.actors import Actor
from orchestrator.services.approvals import Voted, locked, vote
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.settings import Settings

_UNKNOWN = "This link is not valid; ask for a new one"
_LONGEST = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    workspace_id: str
    approval_id: str
    number: str
    name: str

    @property
    def actor(self) -> Actor:
        """Whoever holds the link: no key, no scope, one vote."""
        return Actor(
            workspace_id=self.workspace_id, key_id=f"link:{self.number}", scopes=frozenset(), name=self.name
        )


def create(deps: Deps, actor: Actor, approval_id: str, name: str, once: Once) -> dict[str, Any]:
    """A link for one vote of `name`: `{token, name, approval_id, expires_at}`.

    Raises NotFoundError, ConflictError for an approval that is not open.
    """
    with deps.db.transaction() as session:
        kept = once.begin(session)
        if kept is None:
            found = locked(session, actor, approval_id)
            if not found.is_open:
                raise ConflictError(f"approval {approval_id} is {found.status}; a link to it would lead nowhere")
            kept = {
                "approval_id": approval_id,
                "name": name,
                "number": secrets.token_hex(12),
                "expires_at": approval_views.in_session(session, approval_id)["expires_at"],
            }
            told = {"approval": approval_id, "name": name}
            runs.note(
                session, found.row.run_id, "approval.linked", told, actor=actor.name, step=found.row.step
            )
            after = {"name": name, "expires_at": kept["expires_at"]}
            auditing.record(session, actor, "approval.link", f"approval:{approval_id}", after=after)
            once.finish(session, kept)
    link = _Link(
        workspace_id=actor.workspace_id, approval_id=approval_id, number=kept["number"], name=kept["name"]
    )
    shown = {key: value for key, value in kept.items() if key != "number"}
    return {**shown, "token": _token(deps.settings, link)}


def read(deps: Deps, token: str) -> dict[str, Any]:
    """What the holder of a link is asked: `{name, title, form, status, expires_at, voted}`. Raises NotFoundError."""
    link = _opened(deps.settings, token)
    with deps.db.read() as session:
        found = approvals.find(session, link.workspace_id, link.approval_id)
        if found is None:
            raise NotFoundError(_UNKNOWN)
        votes = approvals.votes(session, [link.approval_id])[link.approval_id]
        shown = approval_views.in_session(session, link.approval_id)
    voted = any(vote.voter == link.actor.key_id for vote in votes)
    return {
        "name": link.name,
        "voted": voted,
        **{key: shown[key] for key in ("title", "form", "status", "expires_at")},
    }


def use(
    deps: Deps, token: str, decision: Verdict, *, comment: str | None, data: Any, source: str | None = None
) -> Voted:
    """Vote by a link, from an address. Raises NotFoundError, ConflictError (used, or not open), InvalidError."""
    link = _opened(deps.settings, token)
    voted = vote(deps, replace(link.actor, source=source), link.approval_id, decision, comment=comment, data=data)
    return Voted(answer={"status": voted.answer["status"]}, effects=voted.effects)


def _token(settings: Settings, link: _Link) -> str:
    said = json.dumps([link.workspace_id, link.approval_id, link.number, link.name]).encode()
    return f"{_encode(said)}.{_encode(_mac(settings, said))}"


def _opened(settings: Settings, token: str) -> _Link:
    """What a token says. Raises NotFoundError unless we signed it."""
    said, _, mac = token.partition(".")
    try:
        text, given = _decode(said), _decode(mac)
    except (binascii.Error, ValueError) as error:
        raise NotFoundError(_UNKNOWN) from error
    if len(token) > _LONGEST or not hmac.compare_digest(_mac(settings, text), given):
        raise NotFoundError(_UNKNOWN)
    workspace_id, approval_id, number, name = json.loads(text)
    return _Link(workspace_id=workspace_id, approval_id=approval_id, number=number, name=name)


def _mac(settings: Settings, said: bytes) -> bytes:
    return hmac.digest(vault.link_key(settings), said, "sha256")


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
