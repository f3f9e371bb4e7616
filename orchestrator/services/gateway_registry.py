"""Gateways as admins keep them: made, changed, removed, pinged. Tokens go in and never come out."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.orm import Session

from models.errors import ConflictError, InvalidError, NotFoundError, Problem
from models.gateway import Gateway
from models.queries import agents
from models.queries import gateways as queries
from orchestrator import registry
from orchestrator.core.effects import Effect
from orchestrator.services import auditing, gateways, naming, paging, unserved, vault
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.gateways import LOCAL
from orchestrator.services.idempotency import Once
from orchestrator.services.paging import PageRequest
from orchestrator.services.shapes import moment

_SCHEMES = {"openclaw": ("ws", "wss"), "http": ("http", "https")}
_ANY = ("ws", "wss", "http", "https")
_FORGOTTEN = {"status": "unknown", "failures": 0, "error": None, "version": None, "checked_at": None}


def create(deps: Deps, actor: Actor, body: Mapping[str, Any], once: Once) -> dict[str, Any]:
    """A new gateway. Raises InvalidError (name, kind, url), ConflictError (name taken)."""
    name, kind = naming.checked(body["name"]), _kind(body["kind"])
    values = {
        "workspace_id": actor.workspace_id,
        "name": name,
        "kind": kind,
        "url": _url(kind, body.get("url")),
        "token": _sealed(deps, body.get("token")),
        "is_default": body["default"],
        "failures": 0,
    }
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        if values["is_default"]:
            _only_default(session, actor.workspace_id)
        made = queries.add(session, values)
        if made is None:
            raise _taken(name)
        answer = _view(_found(session, actor, made))
        auditing.record(session, actor, "gateway.create", f"gateway:{made}", after=answer)
        once.finish(session, answer)
        return answer


def get(deps: Deps, actor: Actor, gateway: str) -> dict[str, Any]:
    """A gateway by id or name. Raises NotFoundError."""
    with deps.db.read() as session:
        return _view(_found(session, actor, gateway))


def list_(deps: Deps, actor: Actor, request: PageRequest) -> dict[str, Any]:
    """The workspace's gateways by name."""
    scope = ["gateways", actor.workspace_id]
    after = request.after(scope)
    with deps.db.read() as session:
        rows = queries.page(session, actor.workspace_id, after=after, limit=request.limit + 1)
    return paging.page(rows, request, scope, place=lambda row: row.name, show=_view)


def update(
    deps: Deps, actor: Actor, gateway: str, body: Mapping[str, Any], once: Once
) -> tuple[dict[str, Any], tuple[Effect, ...]]:
    """Change what is given; another url or token is to be tried anew.

    Raises NotFoundError, InvalidError (name, url), ConflictError (name taken).
    """
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept, ()
        if body.get("default"):
            _only_default(session, actor.workspace_id)
        row = queries.lock(session, actor.workspace_id, gateway)
        if row is None:
            raise _missing(gateway)
        before, values = _view(row), _changes(deps, row, body)
        if "name" in values and queries.name_is_taken(session, actor.workspace_id, values["name"], but=row.id):
            raise _taken(values["name"])
        queries.change(session, row.id, values)
        session.expire_all()
        answer = _view(_found(session, actor, row.id))
        auditing.record(session, actor, "gateway.update", f"gateway:{row.id}", before=before, after=answer)
        once.finish(session, answer)
    return answer, unserved.release(deps, actor.workspace_id)


def _changes(deps: Deps, row: Gateway, body: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if "name" in body:
        values["name"] = naming.checked(body["name"])
    if "default" in body:
        values["is_default"] = body["default"]
    if "token" in body:
        values |= {**_FORGOTTEN, "token": _sealed(deps, body["token"])}
    if "url" in body:
        url = _url(row.kind, body["url"])
        if row.token is not None and "token" not in body and _place(url) != _place(row.url):
            message = (
                f"the stored token of the gateway {row.name!r} is not sent to another place; "
                "give the new place's token with its url, or null"
            )
            raise InvalidError(message, [Problem(pointer="/token", code="MISSING_FIELD", message=message)])
        if url != row.url:
            values |= {**_FORGOTTEN, "url": url, "device_token": None}
    return values


def _place(url: str | None) -> tuple[str, str]:
    """Scheme, host and port."""
    parts = urlsplit(url or "")
    return parts.scheme, parts.netloc.lower()


def remove(deps: Deps, actor: Actor, gateway: str, once: Once) -> dict[str, Any]:
    """Remove a gateway. Raises NotFoundError, ConflictError (agents are registered with it, steps at work there)."""
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        row = queries.lock(session, actor.workspace_id, gateway)
        if row is None:
            raise _missing(gateway)
        if number := agents.at_gateway(session, row.id):
            known = f"1 agent is registered with the gateway {row.name!r}"
            if number > 1:
                known = f"{number} agents are registered with the gateway {row.name!r}"
            raise ConflictError(f"{known}; give them another with PATCH /api/agents/{{agent}}, or remove them")
        if number := queries.work_at(session, row.id):
            raise ConflictError(
                f"{number} {'step is' if number == 1 else 'steps are'} at work at the gateway {row.name!r}; "
                "wait for their end, or abort their runs"
            )
        answer = _view(row)
        queries.remove(session, row.id)
        auditing.record(session, actor, "gateway.delete", f"gateway:{row.id}", before=answer)
        once.finish(session, answer)
        return answer


def ping(deps: Deps, actor: Actor, gateway: str) -> tuple[dict[str, Any], tuple[Effect, ...]]:
    """Ask a gateway now: {status, latency_ms, version, agents, error?} of this once. Raises NotFoundError."""
    with deps.db.read() as session:
        gateway_id = _found(session, actor, gateway).id
    asked = gateways.ask(deps, gateway_id)
    pong = asked.pong
    answer: dict[str, Any] = {
        "status": "unhealthy" if pong is None else "healthy",
        "latency_ms": asked.latency_ms,
        "version": None if pong is None else pong.version,
        "agents": None if pong is None or pong.agents is None else list(pong.agents),
    }
    return (answer if asked.reason is None else {**answer, "error": asked.reason}), asked.effects


def _only_default(session: Session, workspace_id: str) -> None:
    queries.serialize(session, workspace_id)
    queries.no_default(session, workspace_id)


def _kind(kind: str) -> str:
    known = registry.gateway_kinds()
    if kind not in known:
        raise _refused("/kind", f"There is no kind of gateways {kind!r}; it is one of {', '.join(known)}")
    return kind


def _url(kind: str, url: str | None) -> str | None:
    """A url that the kind's driver can reach. Raises InvalidError."""
    if kind == LOCAL:
        if url is not None:
            raise _refused("/url", "A local gateway is found by itself; leave url out")
        return None
    if url is None:
        if kind in _SCHEMES:
            raise _refused("/url", f"A gateway of kind {kind} needs a url", "MISSING_FIELD")
        return None
    schemes = _SCHEMES.get(kind, _ANY)
    if not _is_url(url, schemes):
        allowed = " or ".join(f"{scheme}://host:port" for scheme in schemes)
        raise _refused("/url", f"Write {allowed}, with no user, password or fragment in it")
    return url


def _is_url(url: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    named = bool(parts.hostname) and parts.scheme in schemes and port != 0
    return plain and named and "@" not in parts.netloc and not parts.fragment


def _sealed(deps: Deps, token: str | None) -> str | None:
    return None if token is None else vault.seal(deps.settings, token)


def _refused(pointer: str, message: str, code: str = "INVALID_VALUE") -> InvalidError:
    return InvalidError(message, [Problem(pointer=pointer, code=code, message=message)])


def _taken(name: str) -> ConflictError:
    return ConflictError(f"There is a gateway {name!r} already; choose another name")


def _missing(gateway: str) -> NotFoundError:
    return NotFoundError(f"There is no gateway {gateway!r}; GET /api/gateways lists those that there are")


def _found(session: Session, actor: Actor, gateway: str) -> Gateway:
    row = queries.find(session, actor.workspace_id, gateway)
    if row is None:
        raise _missing(gateway)
    return row


def _view(row: Gateway) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "kind": row.kind,
        "url": row.url,
        "has_token": row.token is not None,
        "default": row.is_default,
        "status": row.status,
        "error": row.error,
        "version": row.version,
        "checked_at": moment(row.checked_at),
        "created_at": moment(row.created_at),
        "updated_at": moment(row.updated_at),
    }
